"""A winner is called when chance would hardly make such rounds."""

from __future__ import annotations

from itertools import product

import pytest

from tests.support.samples import benchmark
from tuner.bench.rivals import SIGNIFICANT, chance, is_undecided, settled

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


STEADY = [10.0, 10.1, 10.2, 10.1, 10.0, 10.1]


@pytest.mark.parametrize(
    ("rounds_ms", "enough"),
    [
        ({"tuned": STEADY, "torch": [11.0] * 6}, True),
        ({"tuned": STEADY, "torch": [9.0, 11.0, 11.0, 11.0, 11.0, 11.0]}, False),
        ({"tuned": [10.0, 12.0, 10.0, 10.0, 10.0, 10.0], "torch": [20.0] * 6}, False),
        ({"tuned": STEADY, "untuned": [100.0]}, True),
        ({"tuned": STEADY, "a": [30.0, 33.0, 36.0] * 2, "b": [33.0, 30.0, 36.0] * 2}, True),
    ],
    ids=["ahead in all", "behind in one", "uneven", "far behind", "others are alike"],
)
def test_six_rounds_are_enough_where_more_would_say_the_same(rounds_ms: dict[str, list[float]], enough: bool) -> None:
    assert settled(rounds_ms, ["tuned"]) is enough


def test_one_look_more_does_not_call_a_winner_too_often_by_chance() -> None:
    """Of all ways in which ten rounds between two that are alike can go."""
    ends = list(product((1.0, -1.0), repeat=10))

    def is_called(ahead: tuple[float, ...]) -> bool:
        ours, six = [100.0 + one for one in ahead], slice(6)
        theirs = [100.0] * 10
        if settled({"a": ours[six], "b": theirs[six]}, ["a"]):
            return True
        return chance(ours, theirs) <= SIGNIFICANT

    assert sum(map(is_called, ends)) / len(ends) == pytest.approx(0.043, abs=0.001)
