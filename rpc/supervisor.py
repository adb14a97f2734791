"""Starts processes, brings back what died or hangs, ends them all. Knows only command lines."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

from rpc.descendants import Descendants
from rpc.supervised import Child, ProcessSpec

log = logging.getLogger(__name__)

_TICK_SEC = 0.2
_STARTS_AT_FIRST = 3  # a process that ends this often before it was ever ready will not come up
_TERM_SEC = 3.0  # between TERM and KILL; with the KILL all is over within 5 s


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
        assert {spec.after for spec in specs} <= {"", *(spec.name for spec in specs)}
        log_dir.mkdir(parents=True, exist_ok=True)
        self._children = [Child(spec, log_dir / f"{spec.name}.log") for spec in specs]
        self._started: list[Child] = []
        self._on_change = on_change
        self._signals = 0
        self._wake = threading.Event()

    def run(self, on_started: Callable[[], None] = lambda: None) -> None:
        """Start all, call ``on_started``, keep them running until SIGINT or SIGTERM, then end all within 5 s.

        All that this process ever started, directly or not, is its own to look after, and ends with it.

        Raises:
            StartFailed: a process did not come up the first time.
        """
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        descendants = Descendants()
        descendants.adopt()
        try:
            self.start()
            if not self._signals:
                on_started()
            while not self._signals:
                self.tick()
                descendants.look(self.pids().values())
                self._wake.wait(_TICK_SEC)
        finally:
            self.stop()
            descendants.end()
            for number, handler in before.items():
                signal.signal(number, handler)

    def start(self) -> None:
        """Start the processes side by side, each when the one that it comes after is up; a signal ends the wait.

        Raises:
            StartFailed: names the process and shows the end of its log.
        """
        while not self._signals and not all(child.came_up for child in self._children):
            up = {child.spec.name for child in self._started if child.ever_came_up}
            waiting = [child for child in self._children if child not in self._started]
            self._started += [child for child in waiting if child.spec.after in ("", *up)]
            self.tick()
            self._wake.wait(_TICK_SEC / 4)

    def tick(self) -> None:
        """One look at every process that was started."""
        for child in self._started:
            if child.process is None:
                if time.monotonic() >= child.start_at:
                    self._start(child)
            elif (code := child.process.poll()) is not None:
                self._try_later(child, _how(code))
            else:
                self._check(child)

    def pids(self) -> dict[str, int]:
        """Process id of each process that runs now."""
        return {child.spec.name: child.process.pid for child in self._started if child.process}

    def stop(self) -> None:
        """End all processes and their groups: TERM, then KILL; a second signal from the user hurries.

        Those that others come after are asked last: somebody who ends may still have to speak with them.
        """
        running = [child for child in self._started if child.process]
        needed = {child.spec.after for child in running}
        last = [child for child in running if child.spec.name in needed]
        first = [child for child in running if child not in last]
        now, asked = time.monotonic(), self._signals
        for whom, awaited, deadline in ((first, first, now + _TERM_SEC / 2), (last, running, now + _TERM_SEC)):
            for child in whom:
                child.kill_group(signal.SIGTERM)
            while time.monotonic() < deadline and self._signals == asked and any(one.is_alive() for one in awaited):
                time.sleep(_TICK_SEC / 4)
        for child in running:
            if child.is_alive():
                log.warning("%s did not end in time: killing it", child.spec.name)
            child.forget()  # its orphans too
        self._started.clear()

    def _start(self, child: Child) -> None:
        try:
            child.start()
        except OSError as error:  # no memory, no process, no room for its log: for a moment, or else it never comes up
            self._try_later(child, f"could not be started: {error}")
            return
        with _whatever_the_disk_says():
            self._on_change(self.pids())

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        self._wake.set()

    def _try_later(self, child: Child, why: str) -> None:
        child.end()
        if not child.ever_came_up and child.starts >= _STARTS_AT_FIRST:
            raise child.failure(why)
        log.warning("%s %s; starting it again in %.1f s", child.spec.name, why, child.start_at - time.monotonic())

    def _check(self, child: Child) -> None:
        """Is it up, and is it well? Kill it when it has not been for too long."""
        if child.came_up_now():
            log.info("%s is up after %.1f s", child.spec.name, time.monotonic() - child.started_at)
        elif why := child.trouble():
            if not child.ever_came_up:
                raise child.failure(why)
            log.warning("%s %s: killing it", child.spec.name, why)
            child.kill_group(signal.SIGKILL)


@contextlib.contextmanager
def _whatever_the_disk_says() -> Iterator[None]:
    """A full disk keeps us from writing, not the processes from running."""
    try:
        yield
    except OSError as error:
        log.warning("going on without: %s", error)


def _how(code: int) -> str:
    """How a process ended, for people: its exit code or the signal's name."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
