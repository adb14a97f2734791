"""The round planner: where trials go, and when tuning ends."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.search.planner import MIN_BATCH, Budget, RoundPlan, Stop, WorkloadState, plan

F32 = 4


def gemm(name: str, m: int, n: int, k: int, weight: int = 12) -> WorkloadState:
    return WorkloadState(name, weight, 2.0 * m * n * k, traffic_bytes=F32 * (m * k + k * n + m * n))


def elementwise(name: str, elements: int, weight: int = 12) -> WorkloadState:
    return WorkloadState(name, weight, 8.0 * elements, traffic_bytes=2 * F32 * elements)


BERT = [
    gemm("qkv", 128, 2304, 768),
    gemm("out", 128, 768, 768),
    gemm("ffn1", 128, 3072, 768),
    gemm("ffn2", 128, 768, 3072),
    replace(gemm("scores", 128, 128, 64), weight=12, flops=12 * 2.0 * 128 * 128 * 64),
    elementwise("softmax", 12 * 128 * 128),
    elementwise("norm", 128 * 768, weight=25),
    elementwise("split", 128 * 2304),
    WorkloadState("reshape", 12, 0.0, tunable=False, traffic_bytes=F32 * 128.0),
]
GEMMS = {"qkv", "out", "ffn1", "ffn2"}


def tune(
    workloads: list[WorkloadState], trials: int, best: dict[str, float] | None = None, batch: int = 16
) -> tuple[Counter[str], Stop, list[RoundPlan]]:
    """Follow the plan to its end; a workload is at ``best`` (else near its roofline) from its first round on."""
    states = {w.workload_id: w for w in workloads}
    spent: Counter[str] = Counter()
    rounds: list[RoundPlan] = []
    while True:
        budget = Budget(trials - spent.total(), batch=batch, trials_total=trials)
        found = plan(list(states.values()), budget, seed=str(len(rounds)))
        if isinstance(found, Stop):
            return spent, found, rounds
        (planned,) = found
        rounds.append(planned)
        spent[planned.workload_id] += planned.batch
        old = states[planned.workload_id]
        reached = (best or {}).get(old.workload_id, old.flops / 4e5 + old.traffic_bytes / 2e4)
        count = old.trials + planned.batch
        states[old.workload_id] = replace(
            old, trials=count, best_us=reached, history=(*old.history, (count, reached)), sec_per_trial=0.3
        )


def test_a_small_budget_is_spread_by_share_of_time() -> None:
    spent, stop, _ = tune(BERT, 64)
    assert stop == Stop("trials")
    assert spent.total() == 64
    assert len(spent) >= 6
    assert spent["ffn1"] >= 2 * spent["softmax"]
    assert sum(spent[name] for name in GEMMS) >= 32
    assert max(spent.values()) <= 32


def test_the_biggest_share_is_tuned_first() -> None:
    _, _, rounds = tune(BERT, 64)
    assert rounds[0].workload_id in {"ffn1", "ffn2"}


def test_what_is_only_index_arithmetic_gets_nothing() -> None:
    spent, _, _ = tune(BERT, 2000)
    assert spent["reshape"] == 0


def test_cheap_elementwise_workloads_get_a_small_first_batch() -> None:
    _, _, rounds = tune(BERT, 1000)
    first = {planned.workload_id: planned.batch for planned in reversed(rounds)}
    assert first["split"] <= 8
    assert first["ffn1"] == 16


def test_every_workload_that_matters_is_tuned_before_tuning_ends_for_want_of_gain() -> None:
    spent, stop, _ = tune(BERT, 100_000)
    assert stop == Stop("gain")
    assert all(spent[w.workload_id] >= MIN_BATCH for w in BERT if w.tunable)


def test_tuning_ends_long_before_a_budget_that_nothing_needs() -> None:
    spent, stop, _ = tune(BERT, 100_000)
    assert stop == Stop("gain")
    assert spent.total() < 5_000


def test_products_are_tuned_though_their_plain_schedules_outdo_the_prior() -> None:
    """As on two cores with wide vectors, after a first round that went to something else."""
    plain = replace(gemm("ffn", 128, 3072, 768), untuned_us=3850.0)
    norm = replace(elementwise("norm", 98304, 25), untuned_us=202.0, best_us=44.0, trials=8, history=((8, 44.0),))
    found = plan([plain, norm], Budget(trials_left=992, trials_total=1000))
    assert isinstance(found, list)
    assert found[0].workload_id == "ffn"


def test_a_trifle_gets_nothing() -> None:
    trifle = WorkloadState("pooler", 1, 1e3, traffic_bytes=4e3)
    spent, _, _ = tune([*BERT, trifle], 1000)
    assert spent["pooler"] == 0


def test_a_workload_that_others_outdo_gets_more_than_one_at_its_limit() -> None:
    equal = [gemm("fast", 128, 768, 768), gemm("slow", 128, 768, 768)]
    spent, _, _ = tune(equal, 400, best={"fast": 300.0, "slow": 1200.0})
    assert spent["slow"] > spent["fast"]


def test_known_records_count_so_that_a_known_model_needs_no_trials() -> None:
    known = [
        replace(
            w,
            best_us=w.flops / 4e5 + w.traffic_bytes / 2e4,
            trials=640,
            history=tuple((n * 16, w.flops / 4e5 + w.traffic_bytes / 2e4) for n in range(1, 41)),
        )
        for w in BERT
    ]
    assert plan(known, Budget(1000, trials_total=1000)) == Stop("gain")


@pytest.mark.parametrize(("weight", "trials", "reopened"), [(1, 40, False), (12, 16, True)])
def test_what_an_earlier_job_gave_up_is_not_taken_up_for_a_trifle(weight: int, trials: int, reopened: bool) -> None:
    stale = tuple((n * 16, 400.0) for n in range(1, 41))
    known = [replace(w, best_us=w.flops / 4e5, trials=640, history=stale) for w in BERT[1:4]]
    us = 1.3 * BERT[0].flops / 4e5
    given_up = replace(BERT[0], weight=weight, best_us=us, trials=trials, history=((16, us), (trials, us)))
    budget = Budget(1000, trials_total=1000)
    assert isinstance(plan([given_up, *known], budget), list), "a job that is at it goes on"
    found = plan([replace(given_up, left_before=True), *known], budget)
    assert isinstance(found, list) == reopened


def test_a_known_model_with_one_new_workload_tunes_that_one() -> None:
    stale = tuple((n * 16, 1000.0) for n in range(1, 41))
    known = [replace(w, best_us=1000.0, trials=640, history=stale) for w in BERT if w.tunable]
    found = plan([*known, gemm("new", 128, 3072, 768)], Budget(1000, trials_total=1000))
    assert isinstance(found, list)
    assert [planned.workload_id for planned in found] == ["new"]


def test_a_workload_that_never_worked_is_not_tried_for_ever() -> None:
    hopeless = replace(gemm("broken", 128, 768, 768), trials=4000, untuned_us=5000.0)
    assert plan([hopeless], Budget(10_000)) == Stop("gain")


def test_devices_get_rounds_of_different_workloads() -> None:
    found = plan(BERT, Budget(500, trials_total=500), devices=4)
    assert isinstance(found, list)
    assert len({planned.workload_id for planned in found}) == 4


def test_what_is_in_flight_is_not_planned_again() -> None:
    found = plan(BERT, Budget(500, trials_total=500), devices=20, in_flight={"ffn1", "ffn2"})
    assert isinstance(found, list)
    assert not {"ffn1", "ffn2"} & {planned.workload_id for planned in found}


def test_nothing_is_planned_but_tuning_goes_on_while_all_that_is_worthy_is_in_flight() -> None:
    assert plan([gemm("one", 128, 768, 768)], Budget(64), in_flight={"one"}) == []


@pytest.mark.parametrize(
    ("budget", "reason"),
    [
        (Budget(0), "trials"),
        (Budget(-3), "trials"),
        (Budget(64, seconds_left=0.0), "seconds"),
        (Budget(64, seconds_left=-5.0), "seconds"),
        (Budget(64, seconds_left=1.0), "seconds"),
    ],
)
def test_a_spent_budget_ends_tuning(budget: Budget, reason: str) -> None:
    stop = plan(BERT, budget)
    assert isinstance(stop, Stop)
    assert stop.reason == reason


def test_without_tunable_workloads_there_is_nothing_to_do() -> None:
    assert plan([replace(w, tunable=False) for w in BERT], Budget(64)) == Stop("nothing")
    assert plan([], Budget(64)) == Stop("nothing")


def test_the_last_round_fits_into_the_seconds_that_are_left() -> None:
    slow = [replace(w, sec_per_trial=1.0) for w in BERT]
    found = plan(slow, Budget(500, seconds_left=8.0, trials_total=500))
    assert isinstance(found, list)
    assert found[0].batch <= 6


def test_exploration_visits_others_and_is_repeatable() -> None:
    settled = [
        replace(w, best_us=500.0, trials=32, history=((16, 600.0), (32, 500.0)), sec_per_trial=0.3)
        for w in BERT
        if w.workload_id in GEMMS
    ]

    def picks() -> list[str]:
        found = [plan(settled, Budget(10_000, trials_total=10_000), seed=str(n)) for n in range(300)]
        return [planned[0].workload_id for planned in found if isinstance(planned, list)]

    counts = Counter(picks())
    favourite, most = counts.most_common(1)[0]
    assert most >= 0.9 * 300
    assert set(counts) - {favourite}
    assert picks() == picks()


workload_states = st.builds(
    WorkloadState,
    workload_id=st.uuids().map(str),
    weight=st.integers(1, 50),
    flops=st.floats(0, 1e12),
    tunable=st.booleans(),
    best_us=st.none() | st.floats(0.1, 1e7),
    untuned_us=st.none() | st.floats(0.1, 1e7),
    trials=st.integers(0, 10_000),
    sec_per_trial=st.none() | st.floats(0.01, 10),
    traffic_bytes=st.floats(0, 1e9),
)
budgets = st.builds(
    Budget,
    trials_left=st.integers(-10, 10_000),
    seconds_left=st.none() | st.floats(-10, 1e5),
    batch=st.integers(1, 64),
    trials_total=st.integers(0, 10_000),
)


@given(st.lists(workload_states, max_size=15), budgets, st.integers(1, 8), st.text(max_size=5))
def test_a_plan_always_keeps_to_its_limits(
    workloads: list[WorkloadState], budget: Budget, devices: int, seed: str
) -> None:
    busy = {w.workload_id for w in workloads[::3]}
    found = plan(workloads, budget, devices, busy, seed)
    assert found == plan(workloads, budget, devices, busy, seed)
    if isinstance(found, Stop):
        return
    tunable = {w.workload_id for w in workloads if w.tunable}
    chosen = [planned.workload_id for planned in found]
    assert len(chosen) <= devices
    assert len(set(chosen)) == len(chosen)
    assert set(chosen) <= tunable - busy
    assert all(1 <= planned.batch <= budget.batch for planned in found)
    assert sum(planned.batch for planned in found) <= budget.trials_left
