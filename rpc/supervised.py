"""One process that a supervisor keeps running: what was asked for, and what there is of it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rpc.checkup import Checkup
from rpc.errors import StartFailed
from rpc.lifeline import bare_env, child_env
from rpc.logfile import LogFile

_FIRST_BACKOFF_SEC, _LAST_BACKOFF_SEC = 0.2, 10.0
_STEADY_SEC = 30.0  # up for so long: the next restart is immediate again


@dataclass(frozen=True)
class ProcessSpec:
    """One process to keep running.

    ``argv`` must call `rpc.lifeline.die_with_parent` (`rpc.lifeline.python_module` does). ``env`` is added to ours,
    of which a ``bare`` process sees nothing that could be a secret. ``after`` names another that must be up before.
    ``ready`` says that it came up; without it, running for two seconds does. ``healthy`` is asked every
    ``health_every_sec`` from then on: False for ``unhealthy_sec`` gets it killed and started again, None means that
    nobody can say. Both are asked in a thread of their own.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    bare: bool = False
    after: str = ""
    ready: Callable[[], bool] | None = None
    ready_timeout_sec: float = 60.0
    healthy: Callable[[], bool | None] | None = None
    health_every_sec: float = 2.0
    unhealthy_sec: float = 5.0


class Child:
    """A spec and the process it has now."""

    def __init__(self, spec: ProcessSpec, log_file: Path) -> None:
        self.spec = spec
        self.log = LogFile(log_file)
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self.start_at = 0.0  # monotonic, as all below
        self.started_at = 0.0
        self.came_up = False
        self.ever_came_up = False
        self._backoff_sec = _FIRST_BACKOFF_SEC
        self._checkup: Checkup | None = None

    def start(self) -> None:
        """Start the process and ask how it is from now on. Raises OSError when that can't be."""
        self.starts += 1
        self.came_up = False
        with self.log.writer() as output:
            self.process = subprocess.Popen(
                self.spec.argv,
                env=(bare_env if self.spec.bare else child_env)(**self.spec.env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C in the terminal is for us alone, and its group can be killed whole
            )
        self.started_at = time.monotonic()
        spec = self.spec
        self._checkup = Checkup(spec.name, spec.ready, spec.healthy, spec.health_every_sec)

    def kill_group(self, number: int) -> None:
        """Signal the process and all in its group; what it left behind too."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies
            os.killpg(self.process.pid, number)

    def is_alive(self) -> bool:
        """Does the process run?"""
        return self.process is not None and self.process.poll() is None

    def came_up_now(self) -> bool:
        """Has it come up since the last call?"""
        if self.came_up or self._checkup is None or not self._checkup.is_up:
            return False
        self.came_up = self.ever_came_up = True
        return True

    def trouble(self) -> str:
        """Why it has to be replaced, as the rest of a sentence; empty when all is well."""
        sec = time.monotonic() - self.started_at
        if not self.came_up:
            most_sec = self.spec.ready_timeout_sec
            return f"was not ready within {most_sec:g} s" if sec > most_sec else ""
        unwell_sec = self._checkup.unwell_sec if self._checkup else 0.0
        return f"is not well since {unwell_sec:.0f} s" if unwell_sec > self.spec.unhealthy_sec else ""

    def end(self) -> None:
        """Let go of a process that has ended, with all in its group; the next may start after a while."""
        self.forget()
        now = time.monotonic()
        if self.came_up and now - self.started_at > _STEADY_SEC:
            self._backoff_sec = _FIRST_BACKOFF_SEC
        self.start_at = now + self._backoff_sec
        self._backoff_sec = min(self._backoff_sec * 2, _LAST_BACKOFF_SEC)

    def forget(self) -> None:
        """Kill what is left in the process's group and wait for the process itself."""
        self.kill_group(signal.SIGKILL)
        if self._checkup:
            self._checkup.end()
        if self.process:
            self.process.wait()
        self.process = None

    def failure(self, why: str) -> StartFailed:
        """The error that says why it does not come up, with the end of its log."""
        return StartFailed(f"{self.spec.name} {why}. The end of {self.log.path}:\n{self.log.tail(15)}")
