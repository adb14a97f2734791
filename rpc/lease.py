"""A device of the tracker for a while. TVM's own request waits for ever; nothing here waits past its deadline."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import tvm
from tvm import rpc as tvm_rpc

from rpc import tracker
from rpc.errors import DeviceUnavailable, SessionLost

_UNKNOWN_KEY_SEC = 3.0  # a device that restarts with its tracker is back by then
_POLL_SEC = 0.2
_CALL_SEC = 2.0
_HINT = "See what is there with: tunesmith doctor"


@contextmanager
def lease(
    host: str, port: int, key: str, timeout_sec: float, session_timeout_sec: float
) -> Iterator[tvm_rpc.RPCSession]:
    """Yield a session on a device with this key and give the device back afterwards, whoever still holds its arrays.

    ``timeout_sec`` bounds the wait for the device, ``session_timeout_sec`` the session: the device then kills it.

    Raises:
        DeviceUnavailable: no device in time; at once (a few seconds) when the tracker has never seen the key.
        SessionLost: the body failed because the device ended the session (crash or deadline).
    """
    session = _acquire(host, port, tracker.check_key(key), time.monotonic() + timeout_sec, session_timeout_sec)
    try:
        yield session
    except tvm.error.RPCSessionTimeoutError as error:
        message = f"device {key!r} killed the session at its deadline of {session_timeout_sec:g} s"
        raise SessionLost(message, timed_out=True) from error
    except (tvm.error.RPCError, tvm.error.InternalError) as error:
        if _is_alive(session):  # the error is the remote function's own
            raise
        raise SessionLost(f"the session's process on device {key!r} crashed: {_first_line(error)}") from error
    finally:
        session.get_function("CloseRPCConnection")()


def _acquire(host: str, port: int, key: str, deadline: float, session_timeout_sec: float) -> tvm_rpc.RPCSession:
    """Ask for a device until one answers; a tracker or a device that restarts meanwhile is waited for."""
    unknown_since: float | None = None  # to a tracker that answers
    problem = "there was no time to ask"
    while (left := deadline - time.monotonic()) > 0:
        try:
            summary = tracker.summary(host, port, min(max(left, _POLL_SEC), _CALL_SEC))
            if tracker.count_registered(summary, key):
                address = _request(host, port, key, deadline - time.monotonic())
                return _connect(*address, session_timeout_sec, deadline - time.monotonic())
            problem = f"it is not registered; known keys: {', '.join(sorted(tracker.registered(summary))) or 'none'}"
            unknown_since = unknown_since or time.monotonic()
            if not tracker.was_offered(summary, key) and time.monotonic() - unknown_since >= _UNKNOWN_KEY_SEC:
                break
        except (OSError, tvm.error.InternalError) as error:
            problem, unknown_since = _first_line(error), None
        time.sleep(min(_POLL_SEC, max(0.0, deadline - time.monotonic())))
    raise DeviceUnavailable(f"could not get device {key!r} from the tracker at {host}:{port}: {problem}", _HINT)


def _request(host: str, port: int, key: str, timeout_sec: float) -> tuple[str, int, str]:
    """Wait in the tracker's queue; returns address, port and match key of a device. Leaving closes the request."""
    with tracker.TrackerConnection(host, port, _CALL_SEC) as connection:
        try:
            code, value = connection.call([tracker.REQUEST, key, "", 1], max(0.01, timeout_sec))
        except TimeoutError:
            raise TimeoutError("it is busy with another session") from None
    if code != tracker.SUCCESS:
        raise ConnectionError(f"the tracker refused the request with code {code}")
    address, device_port, match_key = value
    return address, device_port, match_key


def _connect(
    host: str, port: int, match_key: str, session_timeout_sec: float, timeout_sec: float
) -> tvm_rpc.RPCSession:
    """Connect in a side thread, because TVM's connect has no time-out; a session that comes too late closes itself."""
    answers: queue.SimpleQueue[tvm_rpc.RPCSession | Exception] = queue.SimpleQueue()

    def connect() -> None:
        try:
            answers.put(tvm_rpc.connect(host, port, match_key, session_timeout_sec))
        except Exception as error:
            answers.put(error)

    threading.Thread(target=connect, name="lease-connect", daemon=True).start()
    try:
        answer = answers.get(timeout=max(0.01, timeout_sec))
    except queue.Empty:
        raise TimeoutError("it does not take the session up") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _is_alive(session: tvm_rpc.RPCSession) -> bool:
    try:
        session.cpu(0).sync()
    except RuntimeError:
        return False
    return True


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
