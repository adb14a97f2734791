"""The interleaved timer with a clock that is told what each call costs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tuner.bench.compare import interleave
from tuner.bench.spec import Spec, Variant
from tuner.bench.stats import summarise


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
    stats = interleave(variants, rounds=4, per_round=3, warmup=1, clock=lambda: machine.now_sec)
    assert {name: stat.n for name, stat in stats.items()} == {"a": 12, "b": 12}
    assert stats["a"].median_ms == pytest.approx(2.0)
    assert (stats["b"].p10_ms, stats["b"].p90_ms) == (pytest.approx(7.0), pytest.approx(7.0))


def test_the_run_after_a_switch_is_not_counted() -> None:
    machine = FakeMachine()
    variants = {"a": machine.variant("a", 1.0, 50.0), "b": machine.variant("b", 1.0, 50.0)}
    stats = interleave(variants, rounds=10, per_round=2, warmup=0, clock=lambda: machine.now_sec)
    assert max(stat.p90_ms for stat in stats.values()) == pytest.approx(1.0)


def test_the_order_changes_between_rounds_and_repeats_with_the_seed() -> None:
    def order(seed: int) -> list[str]:
        machine = FakeMachine()
        variants = {name: machine.variant(name, 1.0) for name in "abc"}
        interleave(variants, rounds=6, per_round=1, warmup=0, seed=seed, clock=lambda: machine.now_sec)
        return machine.calls[::2]

    assert order(0) == order(0)
    assert len({tuple(order(0)[i : i + 3]) for i in range(0, 18, 3)}) > 1
    assert order(0) != order(1)


def test_progress_counts_rounds() -> None:
    seen: list[tuple[int, int]] = []
    interleave({"a": lambda: None}, rounds=3, per_round=1, warmup=0, progress=lambda d, t: seen.append((d, t)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_no_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        interleave({"a": lambda: None}, rounds=0, per_round=1, warmup=0)


def test_percentiles_are_interpolated() -> None:
    stats = summarise([float(i) for i in range(11)])
    assert (stats.median_ms, stats.p10_ms, stats.p90_ms, stats.n) == (5.0, 1.0, 9.0, 11)
    with pytest.raises(ValueError, match="no timings"):
        summarise([])


def test_spec_refuses_contestants_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="needs one"):
        Variant(name="tuned", kind="tvm")
    with pytest.raises(ValueError, match="same name"):
        Spec(
            model="minilm-l6",
            batch=1,
            seq_len=8,
            threads=1,
            variants=[Variant(name="x", kind="torch-eager"), Variant(name="x", kind="torch-sdpa")],
        )
