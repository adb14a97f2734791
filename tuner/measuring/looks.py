"""How often a kernel is run before its time is believed. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_FIRST_LOOK = 2  # repeats
_HOPELESS = 1.2  # who takes so many times as long as the best in each of the first repeats has had its last look


def is_hopeless(first_secs: Sequence[float], best_sec: float) -> bool:
    """Is the fastest known out of reach, by the first repeats? The quicker of them says it: what disturbs a run never
    makes it faster, and by their mean a good kernel would be lost whenever one of the two was disturbed."""
    return min(first_secs) >= best_sec * _HOPELESS


def seconds_of_looks(run: Callable[[int], list[float]], count: int, best_sec: float | None) -> list[float]:
    """Seconds of each of ``count`` repeats, as ``run`` takes so many; few where the fastest known is out of reach."""
    first = min(_FIRST_LOOK, count)
    secs = run(first)
    if count > first and (best_sec is None or not is_hopeless(secs, best_sec)):
        secs += run(count - first)
    return secs
