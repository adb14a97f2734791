"""A process beside this one that may crash, hang or eat the memory: asked, limited, ended, replaced.

It is told no secrets and ends with whoever started it. Other files of this user's it can read: that confines mistakes,
and what a compiler makes of damaged input, not whoever may run code anyway.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from rpc.lifeline import bare_env, python_module

MAX_ANSWER_BYTES = 256 * 2**20
_START_SEC = 120.0  # TVM is loaded in one second; on a machine that swaps it takes a hundred times that
_MI = 2**20


class Failed(Exception):
    """It could not answer, and says why; it lives and takes the next question."""


class Died(Failed):
    """It ended before it had answered; the message says how, as the end of a sentence."""


class Overdue(Died):
    """It was ended at the deadline. ``cpu_sec``: for how long it had computed by then."""

    def __init__(self, message: str, cpu_sec: float) -> None:
        super().__init__(message)
        self.cpu_sec = cpu_sec


class Confined:
    """A process that answers questions; use it from one thread at a time.

    ``module`` has a function ``prepare`` that loads what it needs, and ``answer``, which takes a question (pickled) and
    gives what JSON holds. ``memory_bytes``: of its own, libraries not counted; more it does not get, on Linux.
    ``python``: the interpreter of another environment, and the folder where it finds our modules, of which ``module``
    gets on with few. ``asked``: questions since it was started. Whatever becomes of the process, the next question
    finds a whole one: nothing is shared that a death could leave locked or half written. It ends with the thread that
    asked first.
    """

    def __init__(self, module: str, memory_bytes: int, python: tuple[Path, Path] | None = None) -> None:
        self.asked = 0
        self._python = python
        self._module = module
        self._memory_bytes = memory_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def ask(self, question: Any, timeout_sec: float) -> Any:
        """The answer, within ``timeout_sec`` or not at all.

        Raises:
            Failed: it gave none; if it died of that, Died, and if it was too late for it, Overdue.
            OSError: no process could be started.
        """
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._start()
        assert self._process is not None
        assert self._connection is not None
        self.asked += 1
        with _Deadline(self._process, timeout_sec) as deadline:
            try:
                self._connection.send(question)
                said = dict(json.loads(self._connection.recv_bytes(MAX_ANSWER_BYTES)))
            except (EOFError, OSError, TypeError, ValueError):
                said = None
                ending = _how_it_ended(self._process)
        if said is None and deadline.has_passed:
            raise Overdue(f"took more than {timeout_sec:g} s", deadline.cpu_sec)
        if said is None:
            raise Died(ending)
        if said.get("is_short_of_memory"):
            self.close()  # what it still holds is not known
            raise Died(f"wanted more than {self._memory_bytes // _MI:,} MiB of memory")
        if "failure" in said:
            raise Failed(said["failure"])
        return said["answer"]

    def close(self) -> None:
        """End the process now, with what it started."""
        if self._process is not None:
            _kill(self._process)
            self._process.wait()
        if self._connection is not None:
            self._connection.close()
        self._process, self._connection, self.asked = None, None, 0

    def _start(self) -> None:
        ours, its = socket.socketpair()
        with its:
            argv = python_module("rpc.confined_process", self._module, str(its.fileno()), str(self._memory_bytes))
            env = bare_env()
            if self._python:
                interpreter, folder = self._python
                argv[0], env["PYTHONPATH"] = str(interpreter), str(folder)
                env.pop("VIRTUAL_ENV", None)
            try:
                self._process = subprocess.Popen(
                    argv, env=env, pass_fds=[its.fileno()], stdin=subprocess.DEVNULL, start_new_session=True
                )
            except OSError:
                ours.close()
                raise
        self._connection = Connection(ours.detach())
        with _Deadline(self._process, _START_SEC):
            try:
                self._connection.recv_bytes(MAX_ANSWER_BYTES)
            except (EOFError, OSError) as error:
                raise OSError(
                    f"a process for {self._module} did not come up: {_how_it_ended(self._process)}"
                ) from error


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
    """SIGKILL the process and what it may have started, a linker perhaps."""
    if process.returncode is None:  # not reaped yet: its number is nobody else's
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _how_it_ended(process: subprocess.Popen[bytes]) -> str:
    _kill(process)
    code = process.wait()
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _cpu_sec(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)
