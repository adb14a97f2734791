"""This machine as an RPC device: one session at a time, each in a process of its own that may crash or hang.

TVM's own listen loop ends for good when a session's process crashes. This one never does: whatever becomes of a
session, the device offers itself again, also to a tracker that was restarted.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any, Literal

from rpc.awake import keep_awake, let_sleep
from rpc.handshake import KNOCK, MAGIC, MISMATCH
from rpc.local_peers import is_trusted
from rpc.registration import Registration
from rpc.session import serve_session, tell_timeout
from rpc.tracker import receive_exactly

log = logging.getLogger(__name__)

_MAX_KEY_BYTES = 4096
_HANDSHAKE_SEC = 5.0  # for all of it: nobody else is served meanwhile
_RETRY_SEC = 0.3  # between attempts to reach the tracker, or to take a client
_CHECK_SEC = 1.0  # between looks at our offer
_CLAIM_SEC = 3.0  # a client that was given our match key must have come by then
_KILL_SEC = 2.0
_SPAWN_SEC = 10.0  # what loading TVM may cost a spawned session on top of its own time

StartMethod = Literal["fork", "spawn"]


class _Knocked(Exception):
    """A client that wants no session."""


@dataclass
class Session:
    """A client being served."""

    process: BaseProcess
    connection: socket.socket
    work_dir: str
    limit_sec: float
    deadline: float  # monotonic seconds
    peer: str
    awake: subprocess.Popen[bytes] | None = None


class DeviceServer:
    """The device's loop, single-threaded because it forks.

    ``start_method`` "fork" needs TVM imported in this process, no thread and no TVM thread pool started; "spawn" works
    anywhere and pays the import for each session. No session lasts longer than ``max_session_sec``.
    """

    def __init__(
        self,
        listener: socket.socket,
        registration: Registration,
        key: str,
        max_session_sec: float,
        start_method: StartMethod = "fork",
    ) -> None:
        self._listener = listener
        self._registration = registration
        self._key = key
        self._max_session_sec = max_session_sec
        self._context = multiprocessing.get_context(start_method)
        self._start_method = start_method
        self._session: Session | None = None
        self._retry_at = 0.0
        self._check_at = 0.0
        self._claimed_at: float | None = None
        self._is_known: bool | None = None  # at the tracker; None: not asked yet

    def serve_forever(self) -> None:
        """Serve sessions until an exception (of a signal handler) ends the loop; the running session ends with it."""
        try:
            while True:
                self._step()
        finally:
            if self._session:
                self._end_session(self._session)
            self._registration.drop()

    def _step(self) -> None:
        self._register()
        session = self._session
        tracker = self._registration.connection
        sources: list[Any] = [self._listener]  # who comes while a session runs is turned away, and knows that we live
        if session:
            sources.append(session.process.sentinel)
        if tracker:
            sources.append(tracker.socket)
        ready = wait(sources, self._wait_sec())
        if tracker and tracker.socket in ready:  # it never speaks first: this is its end
            log.warning("the tracker is gone; registering again when it is back")
            self._registration.drop()
        if session and (not session.process.is_alive() or time.monotonic() >= session.deadline):
            self._end_session(session)
        elif self._listener in ready:
            self._accept()
        elif not session:
            self._check_offer()

    def _wait_sec(self) -> float:
        limit = _CHECK_SEC if self._registration.connection else _RETRY_SEC
        return min(limit, max(0.0, self._session.deadline - time.monotonic())) if self._session else limit

    def _register(self) -> None:
        """Be known at the tracker, and offered while no session runs."""
        wanted = not self._session and self._registration.match_key is None
        if (self._registration.connection and not wanted) or time.monotonic() < self._retry_at:
            return
        try:
            if wanted:
                self._registration.offer()
                self._claimed_at = None
            else:
                self._registration.connect()
        except OSError as error:
            self._registration.drop()
            self._retry_at = time.monotonic() + _RETRY_SEC
            log.debug("can't register: %s", error)
            self._tell_whether_known(False, f": {error}; trying again until it does")
        else:
            self._tell_whether_known(True)

    def _tell_whether_known(self, is_known: bool, why: str = "") -> None:
        if is_known == self._is_known:
            return
        self._is_known = is_known
        host, port = self._registration.tracker
        say, does = (log.info, "knows") if is_known else (log.warning, "does not know")
        say("the tracker at %s:%d %s this device%s", host, port, does, why)

    def _check_offer(self) -> None:
        """Offer anew when a client was given our match key and never came."""
        now = time.monotonic()
        if now < self._check_at or self._registration.match_key is None:
            return
        self._check_at = now + _CHECK_SEC
        try:
            if self._registration.is_unclaimed():
                self._claimed_at = None
            elif self._claimed_at is None:
                self._claimed_at = now
            elif now - self._claimed_at > _CLAIM_SEC:
                log.info("a client was given this device and did not come; offering it again")
                self._registration.withdraw()
        except OSError as error:
            log.warning("the tracker is gone (%s)", error)
            self._registration.drop()

    def _accept(self) -> None:
        try:
            connection, address = self._listener.accept()
        except OSError as error:  # no descriptor is free, or the client left; who waits is seen again at once
            log.warning("can't take a client: %s; trying again", error)
            time.sleep(_RETRY_SEC)
            return
        try:
            if not is_trusted(connection):
                raise ValueError("it is another user's process")
            limit_sec = self._admit(connection)
            self._registration.withdraw()
            # Welcomed last: a client whose session can't be started asks for a device again and blames no candidate.
            self._session = self._start_session(connection, str(address), limit_sec)
            self._welcome(connection)
        except _Knocked:
            connection.close()
        except (OSError, ValueError) as error:
            log.warning("turned %s away: %s", address, error)
            connection.close()

    def _start_session(self, connection: socket.socket, peer: str, limit_sec: float) -> Session:
        tracker = self._registration.connection
        inherited = [self._listener] + ([tracker.socket] if tracker else []) if self._start_method == "fork" else []
        work_dir = tempfile.mkdtemp(prefix="session-")
        process = self._context.Process(  # type: ignore[attr-defined]
            target=serve_session, args=(connection, work_dir, os.getpid(), inherited)
        )
        try:
            process.start()
        except OSError:
            shutil.rmtree(work_dir, ignore_errors=True)
            raise
        deadline = time.monotonic() + limit_sec + (_SPAWN_SEC if self._start_method == "spawn" else 0.0)
        return Session(process, connection, work_dir, limit_sec, deadline, peer, keep_awake(process.pid or 0))

    def _admit(self, connection: socket.socket) -> float:
        """Check the client's match key as TVM's server does; returns the session's limit in seconds."""
        until = time.monotonic() + _HANDSHAKE_SEC
        magic, size = struct.unpack("<ii", receive_exactly(connection, 8, until))
        if magic != MAGIC or not 0 < size <= _MAX_KEY_BYTES:
            raise ValueError("it does not speak TVM's RPC")
        match_key, *options = receive_exactly(connection, size, until).decode().split()
        if self._registration.match_key is None or match_key != f"client:{self._registration.match_key}":
            connection.sendall(struct.pack("<i", MISMATCH))
            raise _Knocked if match_key == f"client:{KNOCK}" else ValueError("its match key is not the one on offer")
        asked = [float(option.removeprefix("-timeout=")) for option in options if option.startswith("-timeout=")]
        return min([self._max_session_sec, *(sec for sec in asked if sec > 0)])

    def _welcome(self, connection: socket.socket) -> None:
        own_key = f"server:{self._key}".encode()
        connection.sendall(struct.pack("<ii", MAGIC, len(own_key)) + own_key)

    def _end_session(self, session: Session) -> None:
        """Kill what is left of the session, say how it ended, and be free again."""
        overdue = session.process.is_alive()
        _kill_group(session.process)
        session.process.join(_KILL_SEC)
        code = session.process.exitcode
        if overdue and time.monotonic() >= session.deadline:
            log.warning("killed the session of %s: over its deadline of %g s", session.peer, session.limit_sec)
            try:
                tell_timeout(session.connection, session.limit_sec)
            except Exception as error:  # the client is gone too; TVM raises its own kinds
                log.debug("could not tell the client: %s", error)
        elif code:
            log.warning("the session of %s crashed: exit code %s", session.peer, code)
        let_sleep(session.awake)
        session.connection.close()
        shutil.rmtree(session.work_dir, ignore_errors=True)
        self._session = None


def _kill_group(process: BaseProcess) -> None:
    """SIGKILL the session's process and all it started."""
    if process.pid is None:
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # it has not come to its setsid yet, or is gone (macOS: EPERM)
        if process.is_alive():
            process.kill()
