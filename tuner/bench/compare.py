"""Time several callables against each other so that drift of the machine hits all of them alike."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from tuner.bench.entrant import Clock, Entrant, Here
from tuner.bench.stats import Stats, summarise
from tuner.errors import StageFailed

Progress = Callable[[int, int], None]  # rounds done, rounds in all (an estimate where the time is limited)
Lost = Callable[[str, StageFailed], None]  # told of a contestant that failed; what it raises ends the comparison
T = TypeVar("T")

MIN_ROUNDS = 6  # with fewer, nobody could win: tuner.bench.rivals
SETTLE_SEC = 0.02
_FAR_BEHIND, _SELDOM = 4.0, 6  # who takes so many times as long as the fastest works in each so-manieth round only


def ends_it(name: str, failure: StageFailed) -> None:
    """Nobody may be lost."""
    raise failure


def interleave(
    variants: Mapping[str, Callable[[], Any] | Entrant],
    rounds: int,
    per_round: int,
    warmup_sec: float,
    max_sec: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    clock: Clock = time.perf_counter,
    settled: Callable[[Mapping[str, Sequence[float]]], bool] | None = None,
    lost: Lost = ends_it,
) -> dict[str, Stats]:
    """Run each variant ``per_round`` times in each of ``rounds`` rounds, in a new random order each round.

    Uncounted runs come first, for ``warmup_sec`` of each variant, and precede each turn, for 20 ms; at least one, or of
    a call ``InParts`` its first part. The thread pools of the variant before still spin for some ms, and the system
    needs some more to spread threads over the cores: short runs would be timed in their company.

    ``max_sec``, warm-up included, bounds it: turns shrink until six rounds fit, to one counted run at least, and
    after six rounds none begins that would not fit. All variants have the same number of counted runs, but for those
    far behind where there may be an end before: ``settled`` is asked once, after six rounds, with each one's medians
    of those it took part in; if it says so, there are no more. Then who takes four times as long as the fastest takes
    part in every sixth round, without a warm-up: how far behind it is a single run tells. Who fails is left out, unless
    ``lost`` ends it all.
    """
    if min(rounds, per_round, warmup_sec) <= 0:
        raise ValueError("rounds, per_round and warmup_sec must be more than 0")
    start = clock()
    entrants = {name: one if isinstance(one, Entrant) else Here(one, clock) for name, one in variants.items()}

    def asked(name: str, do: Callable[[Entrant], T]) -> dict[str, T]:
        try:
            return {name: do(entrants[name])}
        except StageFailed as failure:
            lost(name, failure)
            del entrants[name]
            return {}

    def all_asked(do: Callable[[Entrant], float], without: Collection[str] = ()) -> dict[str, float]:
        return {name: sec for one in list(entrants) if one not in without for name, sec in asked(one, do).items()}

    behind = _far_behind(all_asked(lambda one: one.run_for(SETTLE_SEC, least=True))) if settled else set()
    each_once_sec = sum(all_asked(lambda one: one.run_for(warmup_sec), behind).values())
    left_sec = math.inf if max_sec is None else max_sec - (clock() - start)
    runs = runs_per_turn(per_round, each_once_sec, left_sec)
    order = list(entrants)
    shuffle = random.Random(seed).shuffle
    times_ms: dict[str, list[list[float]]] = {name: [] for name in entrants}

    def is_settled() -> bool:
        return settled is not None and settled({name: summarise(times_ms[name]).rounds_ms for name in entrants})

    def turn(one: Entrant) -> list[float]:
        one.run_for(SETTLE_SEC, least=True)
        return one.times_ms(runs)

    for number, _ in enumerate(rounds_within(left_sec, rounds, progress, clock, is_settled)):
        shuffle(order)
        for name in order:
            if name not in entrants or (name in behind and number % _SELDOM):
                continue
            times_ms[name].extend(asked(name, turn).values())
    return {name: summarise(times_ms[name]) for name in entrants}


def runs_per_turn(wanted: int, each_once_sec: float, left_sec: float) -> int:
    """Counted runs of a turn: as many as are wanted, fewer where six rounds would not fit otherwise, at least one.

    ``each_once_sec`` is what one run of every variant takes; a slow variant's turn has one more run, uncounted.
    """
    return max(1, int(min(wanted, left_sec / MIN_ROUNDS / each_once_sec - 1))) if each_once_sec else 1


def rounds_within(
    max_sec: float,
    rounds: int,
    progress: Progress | None,
    clock: Clock = time.perf_counter,
    is_settled: Callable[[], bool] = lambda: False,
) -> Iterator[None]:
    """Let the caller do one round after the other, ``rounds`` or what fits into ``max_sec``, and report each; six are
    all if they settle it."""
    start = clock()
    done, total = 0, rounds
    while done < total:
        yield
        done += 1
        ends = done == MIN_ROUNDS and is_settled()
        total = done if ends else rounds_in_all(rounds, done, clock() - start, max_sec)
        if progress:
            progress(done, total)


def rounds_in_all(wanted: int, done: int, spent_sec: float, max_sec: float) -> int:
    """How many rounds there will be: as many as are wanted, or fit at the pace of those done, at least six."""
    fit = max_sec / spent_sec * done
    return int(min(wanted, max(fit, done, MIN_ROUNDS)))


def _far_behind(took_sec: Mapping[str, float]) -> set[str]:
    return {name for name, sec in took_sec.items() if sec > _FAR_BEHIND * min(took_sec.values())}
