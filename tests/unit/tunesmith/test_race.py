"""Which of two takes the calls: in turns, by medians, the first call of a turn left out."""

from __future__ import annotations

import pytest

from tunesmith.race import Race


def run(tuned: list[float], plain: list[float]) -> Race:
    """Turns of one slow and then two calls, which take what is given."""
    race, turns = Race(), []
    for one, two in zip(tuned, plain, strict=True):
        turns += [one, one, one, two, two, two]
    for place, seconds in enumerate(turns):
        assert race.is_won() is None
        assert race.is_next_tuned() == (place % 6 < 3)
        race.count(9.0 if place % 3 == 0 else seconds)
    return race


@pytest.mark.parametrize(
    ("tuned", "plain", "is_won"),
    [([1.0, 1.0, 1.0], [2.0, 2.0, 2.0], True), ([2.0, 2.0, 2.0], [1.0, 1.0, 1.0], False)],
)
def test_the_faster_one_wins(tuned: list[float], plain: list[float], is_won: bool) -> None:
    assert run(tuned, plain).is_won() is is_won


def test_one_slow_turn_decides_nothing() -> None:
    assert run([1.0, 7.0, 1.0], [2.0, 2.0, 2.0]).is_won() is True


def test_who_is_as_fast_as_pytorch_has_not_won() -> None:
    assert run([1.0, 1.0, 1.0], [1.0, 1.0, 1.0]).is_won() is False


def test_it_says_the_figures() -> None:
    said = str(run([0.001, 0.001, 0.001], [0.002, 0.002, 0.002]))
    assert said == "it takes 1 ms a call, PyTorch takes 2, medians of 6 each in turns"
