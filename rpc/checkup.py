"""Asks again and again whether a process is well, in a thread of its own: who answers late holds up nobody else."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

_READY_EVERY_SEC = 0.05
_SETTLED_SEC = 2.0  # alive for so long counts as up where there is nothing to ask
_LONGEST_STEP_SEC = 10.0  # between two answers; more means that we were stopped, and that is not the process's fault
_MANY = 2  # answers in a row: one may be late because the whole machine stood still


class Checkup:
    """The questions to one start of a process, from now on until `end`.

    ``ready`` is asked until it says True once, ``healthy`` every ``every_sec`` from then on; None means that nobody can
    say. What they raise counts as that.
    """

    def __init__(
        self,
        name: str,
        ready: Callable[[], bool] | None,
        healthy: Callable[[], bool | None] | None,
        every_sec: float,
    ) -> None:
        self.is_up = False
        self.unwell_sec = 0.0  # for how long each answer has been no, if that were several
        self._name = name
        self._ready = ready
        self._healthy = healthy
        self._every_sec = every_sec
        self._over = threading.Event()
        threading.Thread(target=self._run, name=f"checkup-{name}", daemon=True).start()

    def end(self) -> None:
        """Ask no more; an answer that is still to come changes nothing."""
        self._over.set()

    def _run(self) -> None:
        if self._ready is None:
            self._over.wait(_SETTLED_SEC)
        else:
            while not self._over.is_set() and not self._ask(self._ready):
                self._over.wait(_READY_EVERY_SEC)
        if self._over.is_set():
            return
        self.is_up = True
        if self._healthy is None:
            return
        asked = time.monotonic()
        noes: list[float] = []  # seconds of each that was no, since the last that was not
        while not self._over.wait(self._every_sec):
            is_well = self._ask(self._healthy)
            step_sec, asked = min(time.monotonic() - asked, _LONGEST_STEP_SEC), time.monotonic()
            noes = [*noes, step_sec] if is_well is False else []
            self.unwell_sec = sum(noes) if len(noes) >= _MANY else 0.0

    def _ask(self, question: Callable[[], bool | None]) -> bool | None:
        try:
            return question()
        except Exception:
            log.exception("nobody can say how %s is", self._name)
            return None
