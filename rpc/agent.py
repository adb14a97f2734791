"""This machine as an RPC device: ``python -m rpc.agent --tracker HOST:PORT --key KEY``."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path
from types import FrameType

from rpc import addresses, apple
from rpc.drafts import draft
from rpc.errors import RpcError, StartFailed
from rpc.facts import THREADS_ENV, cpu_model, device_facts, physical_cores, thread_env
from rpc.lean import prepare_lean_import
from rpc.logfile import LEVELS, start_logging
from rpc.loopback import check_loopback
from rpc.registration import Registration
from rpc.server import DeviceServer, StartMethod
from rpc.session import import_runtime
from rpc.tracker import check_key
from rpc.versions import check_versions

log = logging.getLogger("rpc.agent")


def run_agent(
    tracker: tuple[str, int],
    key: str,
    address: tuple[str, int],
    advertise: str | None,
    threads: int | None,
    max_session_sec: float,
    start_method: StartMethod,
    work_root: Path | None,
) -> None:
    """Register at the tracker and serve sessions until SIGTERM or SIGINT.

    ``address`` is where sessions are accepted, port 0 takes any; ``advertise`` is the host that clients are told
    (None: the one the tracker sees). ``work_root`` holds the sessions' files; None uses the system's folder for
    temporary files.

    Raises:
        StartFailed: ``address`` can't be listened on.
    """
    os.environ.update(thread_env(threads or physical_cores()))  # TVM alone would halve the cores of an x86
    prepare_lean_import()
    import_runtime()
    with draft(work_root or Path(tempfile.gettempdir()), "tunesmith-agent-") as work_dir:
        tempfile.tempdir = str(work_dir)
        with _listen(address) as listener:
            host, port = listener.getsockname()[:2]
            registration = Registration(tracker, key, port, {"facts": device_facts()}, advertise)
            log.info("device %s on %s:%d, %s threads", key, host, port, os.environ[THREADS_ENV])
            DeviceServer(listener, registration, key, max_session_sec, start_method).serve_forever()


def _listen(address: tuple[str, int]) -> socket.socket:
    try:
        return socket.create_server(address, backlog=8)
    except OSError as error:
        message = f"The device can't listen on {address[0]}:{address[1]}: {error.strerror}."
        raise StartFailed(message, "Give another --port, and the same one to the tunnel.") from error


def _key(text: str) -> str:
    try:
        return check_key(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _stop(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


def main() -> None:
    """Parse the command line and serve."""
    brand = cpu_model()
    args = _parser(apple.cpu_key(brand)).parse_args()
    start_logging(args.log_level)
    if args.key == apple.cpu_key(brand) and not apple.is_known(brand):
        log.warning("this release knows no %s: it is offered as %s, whose kernels it runs", brand, args.key)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    try:
        if not args.allow_remote_tracker:
            check_loopback(args.tracker[0], args.host)
        check_versions()
        run_agent(
            args.tracker,
            args.key,
            (args.host, args.port),
            args.advertise,
            args.threads,
            args.max_session_sec,
            args.start_method,
            args.work_dir,
        )
    except RpcError as error:
        sys.exit(f"error: {error.message}\nhint: {error.hint}")


def _parser(key: str | None) -> argparse.ArgumentParser:
    description = "Make this machine an RPC device of a tracker."
    parser = argparse.ArgumentParser(prog="tunesmith agent", description=description)
    parser.add_argument("--tracker", type=addresses.address, required=True, metavar="HOST:PORT")
    parser.add_argument(
        "--key", type=_key, default=key, required=key is None, help=f"what jobs ask for{key and f' (default: {key})'}"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address sessions are accepted on (default: %(default)s)")
    parser.add_argument("--port", type=addresses.port, default=0, help="port sessions are accepted on (default: any)")
    parser.add_argument("--advertise", metavar="HOST", help="host that clients are told (default: the tracker sees it)")
    parser.add_argument(
        "--allow-remote-tracker", action="store_true", help="leave this machine: plain text, no password"
    )
    parser.add_argument("--threads", type=int, help="threads kernels run on (default: the physical cores)")
    parser.add_argument("--log-level", choices=LEVELS, default="INFO", help="what is logged (default: %(default)s)")
    # The rest is the service's and the tests'.
    parser.add_argument("--max-session-sec", type=float, default=600.0, help=argparse.SUPPRESS)
    method = "fork" if sys.platform == "linux" else "spawn"  # Apple's frameworks do not survive a fork
    parser.add_argument("--start-method", choices=("fork", "spawn"), default=method, help=argparse.SUPPRESS)
    parser.add_argument("--work-dir", type=Path, help=argparse.SUPPRESS)  # of the sessions' files; else the system's
    return parser


if __name__ == "__main__":
    main()
