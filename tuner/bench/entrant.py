"""Who takes turns in a comparison, in this process or in one of its own."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Clock = Callable[[], float]  # seconds


class Entrant(ABC):
    """A contestant with its inputs at hand. What it does may raise StageFailed: it is lost then."""

    @abstractmethod
    def run_for(self, seconds: float, least: bool = False) -> float:
        """Run uncounted until so many seconds are over, at least once; the seconds a run took on average. ``least``: of
        a call in parts, the first is enough."""

    @abstractmethod
    def times_ms(self, runs: int) -> list[float]:
        """What each of so many runs takes, in milliseconds."""


@dataclass(frozen=True)
class InParts:
    """A call that is several, of which the first is enough to settle down: all of them may take seconds."""

    parts: Sequence[Callable[[], Any]]

    def __call__(self) -> list[Any]:
        return [part() for part in self.parts]


@dataclass(frozen=True)
class Here(Entrant):
    """A call in this process."""

    call: Callable[[], Any]
    clock: Clock = time.perf_counter

    def run_for(self, seconds: float, least: bool = False) -> float:
        call = self.call.parts[0] if least and isinstance(self.call, InParts) else self.call
        start, runs = self.clock(), 0
        while runs == 0 or self.clock() - start < seconds:
            call()
            runs += 1
        return (self.clock() - start) / runs

    def times_ms(self, runs: int) -> list[float]:
        return [self._time_ms() for _ in range(runs)]

    def _time_ms(self) -> float:
        start = self.clock()
        self.call()
        return (self.clock() - start) * 1e3
