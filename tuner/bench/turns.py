"""The worker's side of a contestant in a process of its own: opens it when told, and runs it when it is its turn.

It needs nothing but numpy and what lies beside it, as other people's Python runs it too.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tuner.bench.entrant import Here

Arrays = Mapping[str, np.ndarray]
Order = Mapping[str, Any]  # tuner.bench.contestant.Order as a dictionary


@dataclass(frozen=True)
class Opened:
    """A contestant that can be called: ``ready`` gives a call on arrays by name, whose answer is arrays (or what has a
    method ``numpy``) by name or in the order of ``outputs``. ``precision`` is what it computes in, where it says so."""

    ready: Callable[[Arrays], Callable[[], Any]]
    outputs: Sequence[str]
    precision: str = ""


class Turns:
    """Answers what ``tuner.bench.contestant`` asks. ``open_it`` opens the contestant of an order."""

    def __init__(self, open_it: Callable[[Order], Opened]) -> None:
        self._open = open_it
        self._opened: Opened
        self._first: Here
        self._all: Here

    def answer(self, question: Mapping[str, Any]) -> Any:
        """One of the methods below by its name, with what else was said. Raises what the contestant raises."""
        told = dict(question)
        return getattr(self, told.pop("ask"))(**told)

    def enter(self, order: Order) -> dict[str, Any]:
        """Open it and call it once: the milliseconds of both, and what it computes in."""
        start = time.perf_counter()
        self._opened = self._open(order)
        load_ms = (time.perf_counter() - start) * 1e3
        batches = batches_in(order["inputs"])
        start = time.perf_counter()
        first = self._opened.ready(batches[0])
        first()
        first_ms = (time.perf_counter() - start) * 1e3
        calls = [first, *map(self._opened.ready, batches[1:])]

        def run_all() -> None:  # outputs are let go of one by one: they would count as memory
            for call in calls:
                call()

        self._first, self._all = Here(first), Here(run_all)
        return {"load_ms": load_ms, "first_ms": first_ms, "precision": self._opened.precision}

    def run_for(self, seconds: float, least: bool) -> float:
        """As of ``tuner.bench.entrant.Entrant``."""
        return (self._first if least else self._all).run_for(seconds)

    def times_ms(self, runs: int) -> list[float]:
        """As of ``tuner.bench.entrant.Entrant``."""
        return self._all.times_ms(runs)

    def first_ms(self) -> float:
        """What the first call takes now."""
        return self._first.times_ms(1)[0]

    def compute(self, inputs: str, outputs: str) -> None:
        """Write what it makes of the batches in a file into another."""
        found: dict[str, np.ndarray] = {}
        for number, batch in enumerate(batches_in(inputs)):
            raw = self._opened.ready(batch)()
            named = raw if isinstance(raw, Mapping) else dict(zip(self._opened.outputs, _several(raw), strict=False))
            found |= {f"{number}/{name}": array_of(value) for name, value in named.items()}
        np.savez(outputs, **found)  # type: ignore[arg-type]

    def memory_bytes(self) -> int:
        """The most memory that this process held."""
        status = Path("/proc/self/status")
        if status.is_file():  # of this program alone; what the kernel says of a process also counts who started it
            line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
            return int(line.split()[1]) * 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def batches_in(file: str) -> list[dict[str, np.ndarray]]:
    """Batches of arrays by name from a file in which they are called ``0/name``."""
    with np.load(file) as arrays:
        count = len({key.partition("/")[0] for key in arrays.files})
        found: list[dict[str, np.ndarray]] = [{} for _ in range(count)]
        for key in arrays.files:
            number, _, name = key.partition("/")
            found[int(number)][name] = arrays[key]
    return found


def _several(raw: Any) -> Sequence[Any]:
    return [raw] if hasattr(raw, "shape") else list(raw)


def array_of(value: Any) -> np.ndarray:
    """What a runtime gave as an array; of several texts, each with rows of its own, padded with zeros."""
    if not isinstance(value, list):
        return np.asarray(value.numpy() if hasattr(value, "numpy") else value)
    longest = max(len(rows) for rows in value)
    return np.stack([np.pad(rows, [(0, longest - len(rows)), *[(0, 0)] * (rows.ndim - 1)]) for rows in value])
