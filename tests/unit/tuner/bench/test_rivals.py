"""A winner is called when chance would hardly make such rounds."""

from __future__ import annotations

import pytest

from tests.support.samples import benchmark
from tuner.bench.rivals import SIGNIFICANT, chance, is_undecided

DRIFT = [40.0, 44.0, 52.0, 47.0, 41.0, 60.0, 43.0, 45.0]  # of the machine, which both feel


def test_a_small_difference_in_every_round_is_one_whatever_the_machine_does() -> None:
    tuned = benchmark("tuned", 44.0, rounds_ms=DRIFT)
    torch = benchmark("torch-sdpa", 45.0, rounds_ms=[ms * 1.02 for ms in DRIFT])
    assert tuned.p90_ms > torch.p10_ms
    assert not is_undecided([tuned, torch])


def test_rounds_that_go_either_way_decide_nothing() -> None:
    tuned = benchmark("tuned", 44.0, rounds_ms=DRIFT)
    torch = benchmark("torch-sdpa", 60.0, rounds_ms=[ms * (1.3 if n % 2 else 0.99) for n, ms in enumerate(DRIFT)])
    assert is_undecided([tuned, torch])


@pytest.mark.parametrize(("rounds", "decides"), [(3, False), (5, False), (6, True), (10, True)])
def test_nobody_wins_in_fewer_than_six_rounds(rounds: int, decides: bool) -> None:
    assert (chance([1.0] * rounds, [2.0] * rounds) <= SIGNIFICANT) == decides


def test_rounds_of_a_tie_say_nothing() -> None:
    assert chance([1.0, 1.0], [1.0, 1.0]) == 1.0
    assert chance([], []) == 1.0


def test_without_rounds_spreads_that_overlap_decide_nothing() -> None:
    assert is_undecided([benchmark("tuned", 44.0), benchmark("torch-sdpa", 45.0)])
    assert not is_undecided([benchmark("tuned", 44.0), benchmark("torch-sdpa", 145.0)])
