"""How a job's rounds look to the planner."""

from __future__ import annotations

import pytest

from tests.support.rounds import round_of, states_of
from tests.support.rows import make_workload
from tests.support.tasks import ROUND
from tuner.db.models import Job, Round
from tuner.jobs import tuning
from tuner.jobs.course import MAX_EMPTY_ROUNDS, MAX_WORKLOAD_FAILURES, follow
from tuner.jobs.tuning import given_up, rest_after, resting
from tuner.search.planner import WorkloadState


def test_earlier_measurements_become_a_history_of_rounds() -> None:
    times = [None, 4e-6, 3e-6, None, None, None, 1e-6]
    assert tuning.history(times, batch=2) == ((2, 4.0), (4, 3.0), (6, 3.0), (7, 1.0))
    assert tuning.history([None, None], batch=2) == ()


def test_a_workload_state_joins_earlier_records_with_the_jobs_rounds() -> None:
    rounds = [round_of(16, best_us=80.0), round_of(16, best_us=120.0), round_of(0, "lost")]
    (state,) = states_of(rounds, earlier=((64, 100.0),), trials=32, best_us=80.0)
    assert (state.trials, state.best_us) == (96, 80.0)
    assert state.history == ((64, 100.0), (80, 80.0), (96, 80.0))
    assert state.sec_per_trial == pytest.approx(10.0 / 32)


def test_the_best_earlier_time_counts_before_the_job_has_one() -> None:
    (state,) = states_of([], earlier=((64, 100.0),))
    assert (state.best_us, state.trials) == (100.0, 64)


@pytest.mark.parametrize(("how", "most"), [("failed", MAX_WORKLOAD_FAILURES), ("done", MAX_EMPTY_ROUNDS)])
def test_a_workload_whose_rounds_bring_nothing_is_left_alone(how: str, most: int) -> None:
    assert states_of([round_of(0, how)] * (most - 1))[0].tunable
    assert not states_of([round_of(0, how)] * most)[0].tunable


def test_a_workload_whose_search_has_nothing_left_gets_no_empty_round() -> None:
    assert not states_of([round_of(3, exhausted=True)])[0].tunable
    assert states_of([round_of(3, exhausted=True), round_of(3)])[0].tunable


@pytest.mark.parametrize("how", ["failed", "done"])
def test_only_what_happens_in_a_row_speaks_against_a_workload(how: str) -> None:
    assert states_of([round_of(0, how), round_of(16)] * 10)[0].tunable


def resting_after(rounds: list[Round]) -> set[str]:
    return resting(rounds, follow(rounds, {}))


def test_a_workload_whose_round_failed_lets_others_go_first() -> None:
    failing, other = make_workload(1), make_workload(2)
    failed, done = round_of(0, "failed", workload=failing), round_of(16, workload=other)
    assert resting_after([failed]) == {failing.id}
    assert resting_after([failed, done]) == set()
    assert resting_after([failed, done, failed, done]) == {failing.id}
    assert resting_after([failed, done, failed, done, done]) == set()


def test_a_workload_that_is_given_up_is_named_with_its_last_error() -> None:
    rounds = [round_of(0, "failed")] * MAX_WORKLOAD_FAILURES
    assert given_up(rounds) == {rounds[0].workload_id: "its last 4 rounds failed: no schedule"}
    assert given_up([*rounds, round_of(16)]) == {}


def test_a_job_rests_longer_after_each_failure_but_never_long() -> None:
    rests = [rest_after([round_of(0, "failed")] * n)[0] for n in range(9)]
    assert rests == [0.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_lost_rounds_do_not_speak_against_a_workload() -> None:
    assert states_of([round_of(0, "lost")] * 5)[0].tunable


def test_the_predicted_latency_sums_launches_times_best() -> None:
    tuned = WorkloadState("a", 12, 1e6, best_us=100.0)
    untuned = WorkloadState("b", 2, 1e6, untuned_us=50.0)
    index = WorkloadState("c", 3, 0.0, tunable=False)
    assert tuning.predicted_ms([tuned, untuned, index]) == pytest.approx(1.3)
    assert tuning.predicted_ms([tuned, WorkloadState("d", 1, 1e6)]) is None


def test_the_budget_counts_what_is_measured_and_what_is_in_flight() -> None:
    job = Job(id="job-1", model_id="m", target="local", budget_trials=100, budget_sec=60.0, tuning_sec=20.0)
    left = tuning.budget_left(job, follow([round_of(16), round_of(7, "lost")], {}), [ROUND], batch=16)
    assert left.trials_left == 100 - 16 - 7 - 16
    assert left.seconds_left == pytest.approx(60.0 - 20.0)


def test_a_failed_series_is_ended_by_a_round_that_worked_but_not_by_a_lost_one() -> None:
    failed, lost, done = round_of(0, "failed"), round_of(0, "lost"), round_of(16)
    assert len(tuning.failed_tail([failed, done, failed, lost, failed])) == 2
    assert tuning.failed_tail([failed, done]) == []
