"""A contestant in a process of its own, with a process that is told when to die."""

from __future__ import annotations

from typing import Any

import pytest

from rpc.confined import Confined, Died
from tuner.bench.compare import interleave
from tuner.bench.contestant import Contestant
from tuner.errors import StageFailed


class FakeProcess(Confined):
    """Answers as a worker does; at the question ``dies_at`` it is gone."""

    def __init__(self, dies_at: int | None = None) -> None:
        super().__init__("no.module", 0)
        self.dies_at = dies_at

    def ask(self, question: Any, timeout_sec: float) -> Any:
        self.asked += 1
        if self.asked == self.dies_at:
            raise Died("was ended by SIGKILL")
        match question["ask"]:
            case "enter":
                return {"load_ms": 40.0, "first_ms": 3.0, "precision": "bf16"}
            case "run_for":
                return 1e-3
            case "times_ms":
                return [1.0] * question["runs"]


def test_what_it_cost_to_enter_is_kept() -> None:
    one = Contestant("it", FakeProcess(), {})
    assert (one.load_ms, one.first_ms, one.precision) == (40.0, 3.0, "bf16")


@pytest.mark.parametrize("dies_at", [2, 3, 4], ids=["warming up", "settling down", "in its turn"])
def test_one_that_dies_in_the_race_is_left_out(dies_at: int) -> None:
    lost: dict[str, str] = {}
    stays, goes = Contestant("stays", FakeProcess(), {}), Contestant("goes", FakeProcess(dies_at), {})
    stats = interleave(
        {"goes": goes, "stays": stays},
        *(6, 2, 0.01),
        lost=lambda name, failure: lost.update({name: failure.message}),
    )
    assert {name: stat.n for name, stat in stats.items()} == {"stays": 12}
    assert lost == {"goes": "goes failed: was ended by SIGKILL."}


def test_nobody_may_be_lost_unless_told_otherwise() -> None:
    with pytest.raises(StageFailed, match="was ended by SIGKILL"):
        interleave({"goes": Contestant("goes", FakeProcess(3), {})}, 6, 2, 0.01)


def test_a_race_that_everybody_left_ends() -> None:
    one = Contestant("goes", FakeProcess(2), {})
    assert interleave({"goes": one}, 6, 2, 0.01, lost=lambda name, failure: None) == {}
