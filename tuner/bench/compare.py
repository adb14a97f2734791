"""Time several callables against each other so that drift of the machine hits all of them alike."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Any

from tuner.bench.stats import Stats, summarise

Progress = Callable[[int, int], None]  # rounds done, rounds in all


def interleave(
    variants: Mapping[str, Callable[[], Any]],
    rounds: int,
    per_round: int,
    warmup: int,
    seed: int = 0,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Stats]:
    """Run each variant ``per_round`` times in each of ``rounds`` rounds, in a new random order each round.

    ``warmup`` uncounted runs come first. One uncounted run precedes each turn: the thread pools of the variant
    before still spin for a moment and would slow down the first run of the next. ``clock`` gives seconds.
    """
    if min(rounds, per_round) < 1:
        raise ValueError("rounds and per_round must be at least 1")
    for call in variants.values():
        for _ in range(warmup):
            call()
    order = list(variants)
    shuffle = random.Random(seed).shuffle
    times_ms: dict[str, list[float]] = {name: [] for name in variants}
    for done in range(1, rounds + 1):
        shuffle(order)
        for name in order:
            variants[name]()
            times_ms[name].extend(_time_ms(variants[name], clock) for _ in range(per_round))
        if progress:
            progress(done, rounds)
    return {name: summarise(times) for name, times in times_ms.items()}


def _time_ms(call: Callable[[], Any], clock: Callable[[], float]) -> float:
    start = clock()
    call()
    return (clock() - start) * 1e3
