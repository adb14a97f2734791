"""What runs in the process that serves one RPC session."""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rpc.cores import pin_threads
from rpc.expendable import go_first
from rpc.lean import importing, without_contents
from rpc.lifeline import die_with_parent

_TELL_SEC = 0.5


def serve_session(
    connection: socket.socket, work_dir: str, parent_pid: int, inherited: Sequence[socket.socket]
) -> None:
    """Serve the client until it leaves. Candidates may crash or hang here: nobody else is in this process.

    ``inherited`` are the parent's sockets that a fork brought along; they are closed: the parent alone may hold them.
    """
    die_with_parent(parent_pid)
    os.setsid()  # what a session starts ends with it
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    go_first()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for other in inherited:
        other.close()
    import_runtime()
    pin_threads()
    from tvm.rpc import _ffi_api
    from tvm.rpc.server import _server_env
    from tvm.support import utils

    logging.getLogger("RPCServer").setLevel(logging.WARNING)
    files = utils.tempdir(custom_path=os.path.join(work_dir, "files"))
    os.chdir(files.path)
    _server_env([], files)
    connection.setblocking(True)  # TVM reads the descriptor itself and takes no time-out for an answer
    _ffi_api.ServerLoop(connection.fileno())


def import_runtime() -> None:
    """Load TVM's libraries, of its Python what serves a session, and our device functions; done once before forking, so
    that a session starts in milliseconds."""
    with importing():
        if "tvm" not in sys.modules:
            without_contents("tvm", "tvm.rpc", "tvm.rpc.testing")  # all that schedules, compiles or is a client's
        import tvm.base
        import tvm.rpc.server  # noqa: F401

        _load_backends()
        from rpc import device_functions, placing  # noqa: F401


def _load_backends() -> None:
    """Load what ``import tvm`` would load of further devices and functions beside the runtime itself."""
    from tvm.libinfo import find_libtvm_runtime

    runtime = Path(find_libtvm_runtime())
    for library in runtime.parent.glob(f"{runtime.stem}_*{runtime.suffix}"):
        with suppress(OSError):  # of a device whose driver is not here
            ctypes.CDLL(str(library))


def tell_timeout(connection: socket.socket, limit_sec: float) -> None:
    """Let the client of a killed session know why, as TVM's own server does; one that takes nothing is not waited for.

    Raises what TVM raises when it can't be told.
    """
    from tvm.rpc import _ffi_api

    connection.setblocking(True)  # TVM sends through the descriptor, by the kernel's time-out and not by Python's
    seconds, fraction = divmod(_TELL_SEC, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(seconds), int(fraction * 1e6)))
    _ffi_api.ReturnException(
        connection.fileno(), f"RPCSessionTimeoutError: the session ran over its deadline of {limit_sec:g} s"
    )
