from __future__ import annotations

from collections.abc import Callable
from statistics import median

import pytest

from tuner.measuring.looks import seconds_of_looks


def repeats_of(*secs: float) -> Callable[[int], list[float]]:
    """A kernel that takes these seconds, run after run."""
    left = iter(secs)
    return lambda count: [next(left) for _ in range(count)]


@pytest.mark.parametrize("disturbed", [(0.00068, 0.00254), (0.00254, 0.00068)])
def test_one_disturbed_repeat_loses_no_good_kernel(disturbed: tuple[float, float]) -> None:
    secs = seconds_of_looks(repeats_of(*disturbed, 0.00069, 0.00068, 0.0007), 5, best_sec=0.00067)
    assert median(secs) == 0.00069


def test_who_is_slow_each_time_is_looked_at_briefly() -> None:
    assert seconds_of_looks(repeats_of(0.0013, 0.0012), 5, best_sec=0.00067) == [0.0013, 0.0012]


@pytest.mark.parametrize("best_sec", [None, 0.1])
def test_what_may_be_the_best_is_looked_at_in_full(best_sec: float | None) -> None:
    assert seconds_of_looks(repeats_of(0.1, 0.2, 0.1, 0.1, 0.1), 5, best_sec) == [0.1, 0.2, 0.1, 0.1, 0.1]


@pytest.mark.parametrize("count", [1, 2])
def test_no_more_repeats_are_taken_than_are_wanted(count: int) -> None:
    assert seconds_of_looks(repeats_of(0.1, 0.1), count, best_sec=None) == [0.1] * count
