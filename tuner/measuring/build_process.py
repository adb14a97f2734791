"""One warm process that makes libraries, from the side of those who wait for it: started, asked, ended, replaced."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection

import psutil

from rpc.lifeline import bare_env, python_module

_START_SEC = 120.0  # TVM is loaded in one second; on a machine that swaps it takes a hundred times that
_BUILDS = 2000  # LLVM's contexts leak a little with each build: a process is replaced before that shows
_WORKED = 0.2  # of its deadline a build must have computed to be slow by itself, not for want of a core


@dataclass(frozen=True)
class BuildJob:
    """One library to make: module JSON, target JSON, where to write it.

    ``rewritten_arguments``: constants are expected in the layout the schedule chose (what is measured and shipped);
    else the library takes the workload's own layout and rewrites inside, slow: outputs are checked with it.
    """

    tir: str
    target: str
    path: str
    rewritten_arguments: bool = True


@dataclass(frozen=True)
class Built:
    """A library's path, or what went wrong: class ``build`` or ``build_timeout`` and a message.

    ``is_certain``: it computed up to its deadline; another try would end like this one.
    """

    path: str = ""
    error_class: str = ""
    error: str = ""
    is_certain: bool = False


class BuildProcess:
    """A build process and the socket to it; use it from one thread at a time.

    Whatever becomes of the process, the next build finds a whole one: nothing is shared with other processes that a
    death could leave locked or half written. It ends with the thread that started it.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._builds = 0

    def build(self, job: BuildJob, timeout_sec: float) -> Built:
        """Make one library within ``timeout_sec``.

        Raises:
            OSError: no process could be started.
        """
        if self._builds >= _BUILDS or self._process is None or self._process.poll() is not None:
            self.close()
            self._start()
        assert self._process is not None
        assert self._connection is not None
        self._builds += 1
        with _Deadline(self._process, timeout_sec) as deadline:
            try:
                self._connection.send(job)
                answer: Built = self._connection.recv()
            except (EOFError, OSError):
                answer = Built(error_class="build", error=f"the compiler crashed: {_how_it_ended(self._process)}")
        if deadline.has_passed and answer.error_class:
            late = f"the build took more than {timeout_sec:g} s"
            return Built(error_class="build_timeout", error=late, is_certain=deadline.cpu_sec > _WORKED * timeout_sec)
        return answer

    def close(self) -> None:
        """End the process now, with what it started."""
        if self._process is not None:
            _kill(self._process)
            self._process.wait()
        if self._connection is not None:
            self._connection.close()
        self._process, self._connection, self._builds = None, None, 0

    def _start(self) -> None:
        ours, its = socket.socketpair()
        with its:
            argv = python_module("tuner.measuring.build_worker", str(its.fileno()))
            try:
                self._process = subprocess.Popen(
                    argv, env=bare_env(), pass_fds=[its.fileno()], stdin=subprocess.DEVNULL, start_new_session=True
                )
            except OSError:
                ours.close()
                raise
        self._connection = Connection(ours.detach())
        with _Deadline(self._process, _START_SEC):
            try:
                self._connection.recv()
            except (EOFError, OSError) as error:
                raise OSError(f"a build process did not come up: {_how_it_ended(self._process)}") from error


class _Deadline:
    """Kills a process after so long, also one that takes nothing in, and knows for how long it had computed by then."""

    def __init__(self, process: subprocess.Popen[bytes], timeout_sec: float) -> None:
        self.has_passed = False
        self.cpu_sec = 0.0
        self._process = process
        self._begun_sec = _cpu_sec(process.pid)
        self._timer = threading.Timer(timeout_sec, self._end)
        self._timer.daemon = True

    def __enter__(self) -> _Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()

    def _end(self) -> None:
        self.has_passed = True
        self.cpu_sec = _cpu_sec(self._process.pid) - self._begun_sec
        _kill(self._process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL the process and the linker it may have started."""
    if process.returncode is None:  # not reaped yet: its number is nobody else's
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _how_it_ended(process: subprocess.Popen[bytes]) -> str:
    _kill(process)
    code = process.wait()
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _cpu_sec(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)
