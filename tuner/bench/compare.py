"""Time several callables against each other so that drift of the machine hits all of them alike."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.bench.stats import Stats, summarise

Progress = Callable[[int, int], None]  # rounds done, rounds in all (an estimate where the time is limited)
Clock = Callable[[], float]  # seconds

MIN_ROUNDS = 6  # with fewer, nobody could win: tuner.bench.rivals
SETTLE_SEC = 0.02


@dataclass(frozen=True)
class InParts:
    """A call that is several, of which the first is enough to settle down: all of them may take seconds."""

    parts: Sequence[Callable[[], Any]]

    def __call__(self) -> list[Any]:
        return [part() for part in self.parts]


def interleave(
    variants: Mapping[str, Callable[[], Any]],
    rounds: int,
    per_round: int,
    warmup_sec: float,
    max_sec: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    clock: Clock = time.perf_counter,
) -> dict[str, Stats]:
    """Run each variant ``per_round`` times in each of ``rounds`` rounds, in a new random order each round.

    Uncounted runs come first, for ``warmup_sec`` of each variant, and precede each turn, for 20 ms; at least one, or of
    a call ``InParts`` its first part. The thread pools of the variant before still spin for some ms, and the system
    needs some more to spread threads over the cores: short runs would be timed in their company.

    ``max_sec``, warm-up included, bounds it: turns shrink until six rounds fit, to one counted run at least, and
    after six rounds none begins that would not fit. All variants have the same number of counted runs.
    """
    if min(rounds, per_round, warmup_sec) <= 0:
        raise ValueError("rounds, per_round and warmup_sec must be more than 0")
    start = clock()
    each_once_sec = sum(_run_for(warmup_sec, call, clock) for call in variants.values())
    left_sec = math.inf if max_sec is None else max_sec - (clock() - start)
    runs = runs_per_turn(per_round, each_once_sec, left_sec)
    order = list(variants)
    shuffle = random.Random(seed).shuffle
    times_ms: dict[str, list[list[float]]] = {name: [] for name in variants}
    for _ in rounds_within(left_sec, rounds, progress, clock):
        shuffle(order)
        for name in order:
            _run_for(SETTLE_SEC, _least_of(variants[name]), clock)
            times_ms[name].append([_time_ms(variants[name], clock) for _ in range(runs)])
    return {name: summarise(rounds) for name, rounds in times_ms.items()}


def runs_per_turn(wanted: int, each_once_sec: float, left_sec: float) -> int:
    """Counted runs of a turn: as many as are wanted, fewer where six rounds would not fit otherwise, at least one.

    ``each_once_sec`` is what one run of every variant takes; a slow variant's turn has one more run, uncounted.
    """
    return max(1, int(min(wanted, left_sec / MIN_ROUNDS / each_once_sec - 1)))


def rounds_within(
    max_sec: float, rounds: int, progress: Progress | None, clock: Clock = time.perf_counter
) -> Iterator[None]:
    """Let the caller do one round after the other, ``rounds`` or what fits into ``max_sec``, and report each."""
    start = clock()
    done, total = 0, rounds
    while done < total:
        yield
        done += 1
        total = rounds_in_all(rounds, done, clock() - start, max_sec)
        if progress:
            progress(done, total)


def rounds_in_all(wanted: int, done: int, spent_sec: float, max_sec: float) -> int:
    """How many rounds there will be: as many as are wanted, or fit at the pace of those done, at least six."""
    fit = max_sec / spent_sec * done
    return int(min(wanted, max(fit, done, MIN_ROUNDS)))


def _least_of(call: Callable[[], Any]) -> Callable[[], Any]:
    return call.parts[0] if isinstance(call, InParts) else call


def _run_for(seconds: float, call: Callable[[], Any], clock: Clock) -> float:
    """Run until so many seconds are over, at least once; the seconds a run took on average."""
    start = clock()
    runs = 0
    while runs == 0 or clock() - start < seconds:
        call()
        runs += 1
    return (clock() - start) / runs


def _time_ms(call: Callable[[], Any], clock: Clock) -> float:
    start = clock()
    call()
    return (clock() - start) * 1e3
