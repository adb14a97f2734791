"""How long tuning will go on, and how that is said."""

from __future__ import annotations

import pytest

from tests.support.samples import job
from tests.unit.tuner.search.test_planner import BERT
from tuner.jobs.eta import Band, band, fewest_trials, time_left
from tuner.search.planner import Budget, Stop, WorkloadState, plan


def measured(one: WorkloadState, trials: int) -> WorkloadState:
    """It was fast at once, and nothing better came."""
    us = one.flops / 4e5 + one.traffic_bytes / 4e4 + 5.0
    history = tuple((n, us) for n in range(16, trials + 1, 16))
    return WorkloadState(**{**vars(one), "best_us": us, "trials": trials, "history": history})


def test_fewest_trials_end_where_the_planner_stops_without_luck() -> None:
    fresh = [measured(one, 16) for one in BERT]
    late = [measured(one, 64) for one in BERT]
    done = [measured(one, 320) for one in BERT]
    generous = Budget(10_000, trials_total=10_000)
    assert 10_000 > fewest_trials(fresh, generous) > fewest_trials(late, generous) > 0
    assert fewest_trials(done, generous) == 0
    assert isinstance(plan(done, generous), Stop)


def test_fewest_trials_are_at_most_the_budget() -> None:
    assert fewest_trials(BERT, Budget(40, trials_total=40)) == 40
    assert fewest_trials([], Budget(40)) == 0


def test_the_band_is_wide_at_first_and_narrows_with_every_round() -> None:
    widths = []
    for rounds in (1, 4, 25, 100):
        found = band(trials_left=100, fewest_left=100, seconds_left=None, rounds=rounds, sec_per_trial=1.0)
        assert found is not None
        assert found.low_sec < 100 < found.high_sec
        widths.append(found.high_sec - found.low_sec)
    assert widths == sorted(widths, reverse=True)


def follow(trials: int, share_left: float) -> list[tuple[int, int]]:
    """Tune BERT to the planner's end: (trials spent, fewest to come) after each round, the last being the end.

    What a kernel lacks to its best falls to ``share_left`` with every 16 trials.
    """
    states = {one.workload_id: one for one in BERT}
    told: list[tuple[int, int]] = []
    spent = 0
    while True:
        budget = Budget(trials - spent, trials_total=trials)
        told.append((spent, fewest_trials(list(states.values()), budget)))
        found = plan(list(states.values()), budget, seed=str(len(told)))
        if isinstance(found, Stop):
            return told
        (planned,) = found
        spent += planned.batch
        one = states[planned.workload_id]
        count = one.trials + planned.batch
        best_us = (one.flops / 5e5 + one.traffic_bytes / 4e4 + 3) * (1 + 3 * share_left ** (count / 16))
        states[one.workload_id] = WorkloadState(
            **{**vars(one), "trials": count, "best_us": best_us, "history": (*one.history, (count, best_us))}
        )


@pytest.mark.parametrize("share_left", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("trials", [300, 1000, 5000])
def test_the_band_holds_what_a_job_takes_whether_search_is_lucky_or_not(trials: int, share_left: float) -> None:
    told = follow(trials, share_left)
    end = told[-1][0]
    for rounds, (spent, fewest) in enumerate(told):
        found = band(trials - spent, fewest, None, rounds, 1.0)
        assert found is None or found.low_sec <= end - spent <= found.high_sec


@pytest.mark.parametrize(
    ("seconds_left", "sec_per_trial", "expected"),
    [
        (120.0, None, Band(0.0, 120.0)),
        (30.0, 1.0, Band(30.0, 30.0)),
        (-1.0, 1.0, Band(0.0, 0.0)),
        (None, None, None),
    ],
)
def test_the_time_budget_is_the_most_that_can_be_left(
    seconds_left: float | None, sec_per_trial: float | None, expected: Band | None
) -> None:
    assert band(100, 80, seconds_left, 4, sec_per_trial) == expected


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.0, 0.0, "at most 1 s left"),
        (3.2, 41.7, "3 to 42 s left"),
        (60.0, 60.0, "about 60 s left"),
        (150.0, 250.0, "2 to 5 min left"),
        (20.0, 600.0, "at most 10 min left"),
        (4000.0, 9000.0, "1 to 3 h left"),
        (None, None, ""),
    ],
)
def test_the_band_is_said_in_one_unit_and_rounded_outwards(low: float | None, high: float | None, said: str) -> None:
    assert time_left(job(eta_low_sec=low, eta_high_sec=high)) == said
