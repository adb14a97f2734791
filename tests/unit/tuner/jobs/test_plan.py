"""What a job does next."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.rounds import round_of
from tests.support.tasks import ROUND, STAGE
from tuner.jobs import plan
from tuner.jobs.messages import STOPS
from tuner.jobs.plan import DropWish, Kill, Move, RunRounds, RunStage, Situation, Wait, decide
from tuner.jobs.tasks import Task, needs_device
from tuner.schemas import JobState
from tuner.search.planner import Stop
from tuner.state import STAGES

TUNING = Situation("job-1", "tuning", now=100.0)


@pytest.mark.parametrize("state", STAGES)
def test_a_state_with_a_stage_runs_it(state: JobState) -> None:
    assert decide(Situation("job-1", state)) == RunStage(STAGES[state])


def test_a_submitted_job_starts_with_its_import() -> None:
    assert decide(Situation("job-1", "submitted")) == RunStage("import_model")


def test_a_tuning_job_runs_rounds_also_while_one_runs() -> None:
    assert decide(TUNING) == RunRounds()
    assert decide(replace(TUNING, running=(ROUND,))) == RunRounds()


def test_a_stage_that_runs_is_waited_for() -> None:
    assert decide(Situation("job-1", "extracting", running=(STAGE,), now=101.0)) == Wait()


@pytest.mark.parametrize("state", ["submitted", "importing", "tuning", "paused", "benchmarking"])
def test_a_cancel_ends_a_job_that_runs_nothing(state: JobState) -> None:
    assert decide(Situation("job-1", state, wish="cancel", storage_problem="full")) == Move("cancel")


def test_a_cancel_lets_the_round_end_by_itself_for_a_while() -> None:
    wish = replace(TUNING, wish="cancel", running=(ROUND,))
    assert isinstance(decide(replace(wish, wish_age_sec=1.0)), Wait)
    assert decide(replace(wish, wish_age_sec=60.0)) == Kill(("rnd-1",), "cancelled")


def test_a_pause_waits_for_the_round_that_runs() -> None:
    assert isinstance(decide(replace(TUNING, wish="pause", running=(ROUND,), wish_age_sec=1e6)), Wait)
    assert decide(replace(TUNING, wish="pause")) == Move("pause")


@pytest.mark.parametrize("state", ["submitted", "importing", "extracting"])
def test_a_pause_before_tuning_is_kept_for_later(state: JobState) -> None:
    assert isinstance(decide(Situation("job-1", state, wish="pause")), RunStage)


@pytest.mark.parametrize(("state", "wish"), [("compiling", "pause"), ("paused", "pause"), ("tuning", "resume")])
def test_a_wish_without_meaning_is_dropped(state: JobState, wish: str) -> None:
    assert decide(Situation("job-1", state, wish=wish)) == DropWish()


def test_a_paused_job_rests_until_it_is_resumed() -> None:
    assert decide(Situation("job-1", "paused", device_problem="none", engine_problem="away")) == Wait()
    assert decide(Situation("job-1", "paused", wish="resume")) == Move("resume")


@pytest.mark.parametrize(
    ("state", "running"),
    [("tuning", (replace(ROUND, since=-1000.0),)), ("extracting", (replace(STAGE, since=-1e5),))],
)
def test_what_runs_past_its_deadline_is_ended(state: JobState, running: tuple[Task, ...]) -> None:
    action = decide(Situation("job-1", state, running=running, now=100.0))
    assert isinstance(action, Kill)
    assert action.keys == (running[0].key,)


def test_an_engine_that_is_away_is_waited_for_visibly() -> None:
    assert decide(replace(TUNING, engine_problem="waiting for the engine")) == Wait("waiting for the engine")


@pytest.mark.parametrize("state", ["extracting", "tuning", "compiling"])
def test_what_measures_waits_for_a_device(state: JobState) -> None:
    assert decide(Situation("job-1", state, device_problem="no device")) == Wait("no device")


@pytest.mark.parametrize("state", ["verifying", "benchmarking"])
def test_a_module_is_run_on_its_own_device(state: JobState) -> None:
    at = Situation("job-1", state, device_problem="no device", remote=True)
    assert decide(at) == Wait("no device")


@pytest.mark.parametrize("state", ["importing", "verifying", "benchmarking"])
def test_what_does_not_measure_needs_no_device(state: JobState) -> None:
    assert isinstance(decide(Situation("job-1", state, device_problem="no device")), RunStage)


@pytest.mark.parametrize("remote", [True, False])
@pytest.mark.parametrize("state", ["importing", "extracting", "compiling", "verifying"])
def test_a_job_that_only_compiles_needs_no_device(state: JobState, remote: bool) -> None:
    at = Situation("job-1", state, device_problem="no device", remote=remote, compile_only=True)
    assert decide(at) == RunStage(STAGES[state])
    assert not needs_device(state, remote, compile_only=True)


def test_a_job_whose_target_is_not_known_waits_for_the_device_that_tells() -> None:
    at = Situation("job-1", "submitted", device_problem="no device", target_known=False)
    assert decide(at) == Wait("no device")


def test_tuning_pauses_before_the_disk_is_full_but_ends_its_round() -> None:
    full = replace(TUNING, storage_problem="1 MiB are free.")
    action = decide(full)
    assert isinstance(action, Move)
    assert action.event == "pause"
    assert "tunesmith resume job-1" in (action.message or "")
    assert isinstance(decide(replace(full, running=(ROUND,))), Wait)


@pytest.mark.parametrize("state", ["submitted", "importing", "extracting", "compiling", "verifying", "benchmarking"])
def test_a_stage_waits_in_sight_while_the_disk_is_full(state: JobState) -> None:
    action = decide(Situation("job-1", state, storage_problem="1 MiB are free."))
    assert isinstance(action, Wait)
    assert "1 MiB are free." in action.message


def test_a_job_starts_nothing_while_it_rests() -> None:
    resting = replace(TUNING, rest_reason="waiting 4 s after a round that failed")
    assert decide(resting) == Wait("waiting 4 s after a round that failed")
    assert decide(replace(resting, running=(ROUND,))) == Wait()
    assert decide(replace(resting, wish="cancel")) == Move("cancel")


def test_tuning_that_never_worked_fails_with_the_last_error() -> None:
    move = plan.after_stop("job-1", Stop("nothing"), [round_of(0, "failed")])
    assert move.event == "fail"
    assert move.error is not None
    assert "no schedule" in move.error["message"]


@pytest.mark.parametrize("reason", ["trials", "seconds", "gain", "nothing"])
def test_tuning_that_ends_says_why_and_goes_on(reason: str) -> None:
    move = plan.after_stop("job-1", Stop(reason), [round_of(16)])  # type: ignore[arg-type]
    assert move.event == "done"
    assert (move.message or "").startswith(STOPS[reason])
