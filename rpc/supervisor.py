"""Starts processes in order, brings back what died or hangs, ends them all. Knows only command lines."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from rpc.errors import StartFailed
from rpc.lifeline import child_env
from rpc.logfile import rotate, tail

log = logging.getLogger(__name__)

_TICK_SEC = 0.2
_HEALTH_EVERY_SEC = 1.0
_ROTATE_EVERY_SEC = 60.0
_STARTS_AT_FIRST = 3  # a process that ends this often before it was ever ready will not come up
_FIRST_BACKOFF_SEC, _LAST_BACKOFF_SEC = 0.2, 10.0
_STEADY_SEC = 30.0  # up for so long: the next restart is immediate again
_SETTLED_SEC = 2.0  # alive for so long counts as up where there is nothing to ask
_TERM_SEC = 3.0  # between TERM and KILL; with the KILL all is over within 5 s


@dataclass(frozen=True)
class ProcessSpec:
    """One process to keep running.

    ``argv`` must call `rpc.lifeline.die_with_parent` (`rpc.lifeline.python_module` does). ``env`` is added to ours.
    ``ready`` says that it came up; without it, running for two seconds does. ``healthy`` is asked every second from
    then on: False for ``unhealthy_sec`` gets it killed and started again, None means that nobody can say.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] | None = None
    ready_timeout_sec: float = 60.0
    healthy: Callable[[], bool | None] | None = None
    unhealthy_sec: float = 5.0


class _Child:
    """A spec and the process it has now."""

    def __init__(self, spec: ProcessSpec, log_file: Path) -> None:
        self.spec = spec
        self.log_file = log_file
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self.backoff_sec = _FIRST_BACKOFF_SEC
        self.start_at = 0.0  # monotonic, as all below
        self.started_at = 0.0
        self.came_up = False
        self.ever_came_up = False
        self.last_well = 0.0
        self.check_at = 0.0

    def start(self) -> None:
        with self.log_file.open("ab") as output:
            self.process = subprocess.Popen(
                self.spec.argv,
                env=child_env(**self.spec.env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C in the terminal is for us alone, and its group can be killed whole
            )
        self.starts += 1
        self.started_at = self.last_well = time.monotonic()
        self.came_up = False

    def kill_group(self, number: int) -> None:
        """Signal the process and all in its group; what it left behind too."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies
            os.killpg(self.process.pid, number)


class Supervisor:
    """Keeps the processes of ``specs`` running; each writes to ``log_dir/NAME.log``.

    ``on_change`` gets ``{name: pid}`` whenever a process was started. Use from the main thread of a process that lives
    as long as the processes shall: they end with that thread.
    """

    def __init__(
        self,
        specs: Sequence[ProcessSpec],
        log_dir: Path,
        on_change: Callable[[dict[str, int]], None] = lambda pids: None,
    ) -> None:
        log_dir.mkdir(parents=True, exist_ok=True)
        self._children = [_Child(spec, log_dir / f"{spec.name}.log") for spec in specs]
        self._started: list[_Child] = []
        self._on_change = on_change
        self._rotate_at = 0.0
        self._signals = 0
        self._wake = threading.Event()

    def run(self, on_started: Callable[[], None] = lambda: None) -> None:
        """Start all, call ``on_started``, keep them running until SIGINT or SIGTERM, then end all within 5 s.

        Raises:
            StartFailed: a process did not come up the first time.
        """
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        try:
            self.start()
            if not self._signals:
                on_started()
            while not self._signals:
                self.tick()
                self._wake.wait(_TICK_SEC)
        finally:
            self.stop()
            for number, handler in before.items():
                signal.signal(number, handler)

    def start(self) -> None:
        """Start the processes in order, each when the one before it is ready; a signal ends the wait.

        Raises:
            StartFailed: names the process and shows the end of its log.
        """
        for child in self._children:
            self._started.append(child)
            while not child.came_up and not self._signals:
                self.tick()
                self._wake.wait(_TICK_SEC / 4)
            if self._signals:
                return

    def tick(self) -> None:
        """One look at every process that was started."""
        if time.monotonic() >= self._rotate_at:
            self._rotate_at = time.monotonic() + _ROTATE_EVERY_SEC
            for child in self._started:
                with _whatever_the_disk_says():
                    rotate(child.log_file)
        for child in self._started:
            if child.process is None:
                if time.monotonic() >= child.start_at:
                    child.start()
                    with _whatever_the_disk_says():
                        self._on_change(self.pids())
            elif (code := child.process.poll()) is not None:
                self._on_exit(child, code)
            else:
                self._check(child)

    def pids(self) -> dict[str, int]:
        """Process id of each process that runs now."""
        return {child.spec.name: child.process.pid for child in self._started if child.process}

    def stop(self) -> None:
        """End all processes and their groups: TERM, then KILL; a second signal from the user hurries."""
        running = [child for child in reversed(self._started) if child.process]
        for child in running:
            child.kill_group(signal.SIGTERM)
        deadline = time.monotonic() + _TERM_SEC
        asked = self._signals
        while time.monotonic() < deadline and self._signals == asked and any(_is_alive(child) for child in running):
            time.sleep(_TICK_SEC / 4)
        for child in running:
            if _is_alive(child):
                log.warning("%s did not end in time: killing it", child.spec.name)
            child.kill_group(signal.SIGKILL)  # its orphans too
            if child.process:
                child.process.wait()
        self._started.clear()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        self._wake.set()

    def _on_exit(self, child: _Child, code: int) -> None:
        child.kill_group(signal.SIGKILL)
        child.process = None
        if not child.ever_came_up and child.starts >= _STARTS_AT_FIRST:
            raise self._start_failed(child, _how(code))
        now = time.monotonic()
        if child.came_up and now - child.started_at > _STEADY_SEC:
            child.backoff_sec = _FIRST_BACKOFF_SEC
        log.warning("%s %s; starting it again in %.1f s", child.spec.name, _how(code), child.backoff_sec)
        child.start_at = now + child.backoff_sec
        child.backoff_sec = min(child.backoff_sec * 2, _LAST_BACKOFF_SEC)

    def _check(self, child: _Child) -> None:
        """Is it up, and is it well? Kill it when it has not been for too long."""
        now = time.monotonic()
        if now < child.check_at:
            return
        if not child.came_up:
            if child.spec.ready() if child.spec.ready else now - child.started_at > _SETTLED_SEC:
                log.info("%s is up after %.1f s", child.spec.name, now - child.started_at)
                child.came_up = child.ever_came_up = True
                child.last_well = now
            elif now - child.started_at > child.spec.ready_timeout_sec:
                why = f"was not ready within {child.spec.ready_timeout_sec:g} s"
                if not child.ever_came_up:
                    raise self._start_failed(child, why)
                log.warning("%s %s: killing it", child.spec.name, why)
                child.kill_group(signal.SIGKILL)
        elif child.spec.healthy:
            child.check_at = now + _HEALTH_EVERY_SEC
            if child.spec.healthy() is not False:
                child.last_well = now
            elif now - child.last_well > child.spec.unhealthy_sec:
                log.warning("%s is not well since %.0f s: killing it", child.spec.name, now - child.last_well)
                child.kill_group(signal.SIGKILL)

    @staticmethod
    def _start_failed(child: _Child, why: str) -> StartFailed:
        lines = tail(child.log_file, 15)
        return StartFailed(f"{child.spec.name} {why}. The end of {child.log_file}:\n{lines}")


@contextlib.contextmanager
def _whatever_the_disk_says() -> Iterator[None]:
    """A full disk keeps us from writing, not the processes from running."""
    try:
        yield
    except OSError as error:
        log.warning("going on without: %s", error)


def _is_alive(child: _Child) -> bool:
    return child.process is not None and child.process.poll() is None


def _how(code: int) -> str:
    """How a process ended, for people: its exit code or the signal's name."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
