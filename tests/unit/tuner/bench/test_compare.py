"""The interleaved timer with a clock that is told what each call costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

import pytest

from tuner.bench.compare import interleave, rounds_in_all, rounds_within, runs_per_turn
from tuner.bench.entrant import InParts
from tuner.bench.spec import Spec, Variant
from tuner.bench.stats import summarise
from tuner.importers.source import resolve_source


class FakeMachine:
    """Calls that cost what they are told, and what was called in which order."""

    def __init__(self) -> None:
        self.now_sec = 0.0
        self.calls: list[str] = []

    def variant(self, name: str, cost_ms: float, first_after_switch_ms: float | None = None) -> Callable[[], None]:
        def call() -> None:
            switched = not self.calls or self.calls[-1] != name
            self.calls.append(name)
            slow = switched and first_after_switch_ms is not None
            self.now_sec += (first_after_switch_ms if slow and first_after_switch_ms else cost_ms) / 1e3

        return call


def test_each_variant_gets_its_own_time() -> None:
    machine = FakeMachine()
    variants = {"a": machine.variant("a", 2.0), "b": machine.variant("b", 7.0)}
    stats = interleave(variants, rounds=4, per_round=3, warmup_sec=0.01, clock=lambda: machine.now_sec)
    assert {name: stat.n for name, stat in stats.items()} == {"a": 12, "b": 12}
    assert stats["a"].median_ms == pytest.approx(2.0)
    assert (stats["b"].p10_ms, stats["b"].p90_ms) == (pytest.approx(7.0), pytest.approx(7.0))


def test_the_run_after_a_switch_is_not_counted() -> None:
    machine = FakeMachine()
    variants = {"a": machine.variant("a", 1.0, 50.0), "b": machine.variant("b", 1.0, 50.0)}
    stats = interleave(variants, rounds=10, per_round=2, warmup_sec=0.01, clock=lambda: machine.now_sec)
    assert max(stat.p90_ms for stat in stats.values()) == pytest.approx(1.0)


@pytest.mark.parametrize(("cost_ms", "warmup_runs", "uncounted"), [(3.0, 17, 7), (21.0, 3, 1), (4000.0, 1, 1)])
def test_uncounted_runs_fill_their_time(cost_ms: float, warmup_runs: int, uncounted: int) -> None:
    machine = FakeMachine()
    variants = {name: machine.variant(name, cost_ms) for name in "ab"}
    interleave(variants, rounds=1, per_round=2, warmup_sec=0.05, clock=lambda: machine.now_sec)
    assert machine.calls[: 2 * warmup_runs] == ["a"] * warmup_runs + ["b"] * warmup_runs
    turns = [len(list(turn)) for _, turn in groupby(machine.calls[2 * warmup_runs :])]
    assert turns == [uncounted + 2] * 2


def test_the_order_changes_between_rounds_and_repeats_with_the_seed() -> None:
    def order(seed: int) -> list[str]:
        machine = FakeMachine()
        variants = {name: machine.variant(name, 30.0) for name in "abc"}
        interleave(variants, rounds=6, per_round=1, warmup_sec=0.01, seed=seed, clock=lambda: machine.now_sec)
        return machine.calls[3::2]  # one run each to warm up, then one uncounted and one counted a turn

    assert order(0) == order(0)
    assert len({tuple(order(0)[i : i + 3]) for i in range(0, 18, 3)}) > 1
    assert order(0) != order(1)


def test_progress_counts_rounds() -> None:
    machine = FakeMachine()
    assert race(machine, {"a": 1.0}, max_sec=None)[1] == [(done, 20) for done in range(1, 21)]


def race(
    machine: FakeMachine, costs_ms: dict[str, float], max_sec: float | None
) -> tuple[dict[str, int], list[tuple[int, int]]]:
    """Counted runs by variant in at most 20 rounds of 5, and the progress that was told."""
    told: list[tuple[int, int]] = []
    stats = interleave(
        {name: machine.variant(name, cost_ms) for name, cost_ms in costs_ms.items()},
        rounds=20,
        per_round=5,
        warmup_sec=0.3,
        max_sec=max_sec,
        progress=lambda done, total: told.append((done, total)),
        clock=lambda: machine.now_sec,
    )
    return {name: stat.n for name, stat in stats.items()}, told


def test_a_limit_that_suffices_changes_nothing() -> None:
    machine = FakeMachine()
    counted, told = race(machine, {"a": 100.0, "b": 150.0}, max_sec=60.0)
    assert counted == {"a": 100, "b": 100}
    assert told[-1] == (20, 20)


def test_rounds_end_when_another_would_not_fit() -> None:
    machine = FakeMachine()
    counted, told = race(machine, {"a": 500.0, "b": 700.0}, max_sec=60.0)
    assert counted == {"a": 40, "b": 40}  # 1.2 s of warm-up, rounds of 7.2 s
    assert told == [(done, 8) for done in range(1, 9)]
    assert 60.0 - 7.2 < machine.now_sec <= 60.0


def test_turns_of_slow_variants_shrink_until_six_rounds_fit() -> None:
    machine = FakeMachine()
    counted, told = race(machine, {"a": 1500.0, "b": 2000.0}, max_sec=90.0)
    assert counted == {"a": 18, "b": 18}
    assert told == [(done, 6) for done in range(1, 7)]
    assert machine.now_sec <= 90.0


def test_the_slowest_are_still_run_once_in_six_rounds() -> None:
    machine = FakeMachine()
    counted, told = race(machine, {"a": 20_000.0, "b": 30_000.0}, max_sec=10.0)
    assert counted == {"a": 6, "b": 6}
    assert told == [(done, 6) for done in range(1, 7)]


@pytest.mark.parametrize(("is_settled", "rounds"), [(True, 6), (False, 20)])
def test_six_rounds_are_all_where_they_settle_it(is_settled: bool, rounds: int) -> None:
    machine = FakeMachine()
    asked: list[dict[str, list[float]]] = []
    told: list[tuple[int, int]] = []

    def settled(rounds_ms: Mapping[str, Sequence[float]]) -> bool:
        asked.append({name: list(medians) for name, medians in rounds_ms.items()})
        return is_settled

    stats = interleave(
        {"a": machine.variant("a", 1.0), "b": machine.variant("b", 2.0)},
        rounds=20,
        per_round=5,
        warmup_sec=0.3,
        progress=lambda done, total: told.append((done, total)),
        clock=lambda: machine.now_sec,
        settled=settled,
    )
    assert asked == [{"a": [pytest.approx(1.0)] * 6, "b": [pytest.approx(2.0)] * 6}]
    assert {stat.n for stat in stats.values()} == {5 * rounds}
    assert told[-1] == (rounds, rounds)


@pytest.mark.parametrize(("may_end", "slow_runs"), [(True, 5 * 2), (False, 5 * 8)])
def test_who_is_far_behind_works_in_few_rounds_where_there_may_be_an_end_before(may_end: bool, slow_runs: int) -> None:
    machine = FakeMachine()
    stats = interleave(
        {"a": machine.variant("a", 100.0), "b": machine.variant("b", 390.0), "slow": machine.variant("slow", 410.0)},
        rounds=8,
        per_round=5,
        warmup_sec=0.3,
        clock=lambda: machine.now_sec,
        settled=(lambda _: False) if may_end else None,
    )
    assert {name: stat.n for name, stat in stats.items()} == {"a": 40, "b": 40, "slow": slow_runs}
    assert [len(stat.rounds_ms) for stat in stats.values()] == [8, 8, slow_runs // 5]
    assert stats["slow"].median_ms == pytest.approx(410.0)


@pytest.mark.parametrize(
    ("each_once_sec", "left_sec", "runs"),
    [(1.0, math.inf, 5), (1.0, 36.0, 5), (1.0, 28.0, 3), (1.0, 10.0, 1), (9.0, -3.0, 1)],
)
def test_counted_runs_of_a_turn(each_once_sec: float, left_sec: float, runs: int) -> None:
    assert runs_per_turn(5, each_once_sec, left_sec) == runs


@pytest.mark.parametrize(
    ("wanted", "done", "spent_sec", "max_sec", "total"),
    [
        (20, 1, 6.0, math.inf, 20),
        (20, 1, 6.0, 90.0, 15),
        (20, 15, 85.0, 90.0, 15),
        (20, 15, 95.0, 90.0, 15),
        (20, 1, 50.0, 90.0, 6),
        (20, 1, 50.0, -1.0, 6),
        (2, 1, 50.0, 90.0, 2),
    ],
)
def test_rounds_there_will_be(wanted: int, done: int, spent_sec: float, max_sec: float, total: int) -> None:
    assert rounds_in_all(wanted, done, spent_sec, max_sec) == total


def test_rounds_that_become_slow_are_fewer_than_was_told() -> None:
    machine = FakeMachine()
    told: list[tuple[int, int]] = []
    for _ in rounds_within(20.0, 10, lambda done, total: told.append((done, total)), lambda: machine.now_sec):
        machine.now_sec += 2.0 if len(told) < 4 else 7.0
    assert told == [(1, 10), (2, 10), (3, 10), (4, 10), (5, 6), (6, 6)]


@pytest.mark.parametrize("wrong", [{"rounds": 0}, {"per_round": 0}, {"warmup_sec": 0.0}])
def test_nothing_to_run_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="more than 0"):
        interleave({"a": lambda: None}, **({"rounds": 1, "per_round": 1, "warmup_sec": 0.1} | wrong))  # type: ignore[arg-type]


def test_percentiles_are_interpolated() -> None:
    stats = summarise([[float(i) for i in range(7)], [float(i) for i in range(7, 11)]])
    assert (stats.median_ms, stats.p10_ms, stats.p90_ms, stats.n) == (5.0, 1.0, 9.0, 11)
    assert (stats.mean_ms, stats.std_ms) == (5.0, pytest.approx(10**0.5))
    assert stats.rounds_ms == [3.0, 8.5]
    with pytest.raises(ValueError, match="no timings"):
        summarise([])


def test_spec_refuses_contestants_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="needs one"):
        Variant(name="tuned", kind="tvm")
    with pytest.raises(ValueError, match="same name"):
        Spec(
            source=resolve_source("minilm-l6"),
            folder=None,
            batch=1,
            seq_len=8,
            threads=1,
            variants=[Variant(name="x", kind="torch-eager"), Variant(name="x", kind="torch-sdpa")],
        )


def test_a_call_in_parts_settles_with_its_first() -> None:
    machine = FakeMachine()
    parts = InParts([machine.variant("first", 30.0), machine.variant("rest", 4000.0)])
    stats = interleave({"a": parts}, rounds=2, per_round=1, warmup_sec=0.01, clock=lambda: machine.now_sec)
    assert machine.calls == ["first", "rest"] + ["first", "first", "rest"] * 2
    assert stats["a"].median_ms == pytest.approx(4030.0)
