"""What runs in the process that serves one RPC session."""

from __future__ import annotations

import logging
import os
import resource
import signal
import socket
from collections.abc import Sequence

from rpc.cores import pin_threads
from rpc.lifeline import die_with_parent


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
    """Load TVM and our device functions; done once before forking, so that a session starts in milliseconds."""
    import tvm.rpc.server  # noqa: F401

    from rpc import device_functions  # noqa: F401


def tell_timeout(connection: socket.socket, limit_sec: float) -> None:
    """Let the client of a killed session know why, as TVM's own server does."""
    from tvm.rpc import _ffi_api

    connection.setblocking(True)
    _ffi_api.ReturnException(
        connection.fileno(), f"RPCSessionTimeoutError: the session ran over its deadline of {limit_sec:g} s"
    )
