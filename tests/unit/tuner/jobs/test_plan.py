"""What a job does next, and how its rows look to the planner."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.rows import make_workload
from tuner.db.models import Job, JobWorkload, Round, utcnow
from tuner.jobs import plan
from tuner.jobs.plan import DropWish, Kill, Move, RunRounds, RunStage, Situation, Task, Wait, decide
from tuner.jobs.traffic import traffic_bytes
from tuner.schemas import JobState
from tuner.search.planner import Stop, WorkloadState
from tuner.state import STAGES

ROUND = Task("rnd-1", "job-1", since=100.0, workload_id="wl-1", batch=16, device_key="local")
STAGE = Task("job-1/extract/0", "job-1", since=100.0, stage="extract")
REMOTE = replace(ROUND, key="rnd-2", device_key="m1-cpu")
IMPORT = Task("job-2/import_model/0", "job-2", since=100.0, stage="import_model")
TIMING = Task("job-3/benchmark/0", "job-3", since=100.0, stage="benchmark")
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


@pytest.mark.parametrize(
    ("task", "running", "fits"),
    [
        (ROUND, (), True),
        (ROUND, (IMPORT,), False),
        (ROUND, (REMOTE,), False),
        (IMPORT, (ROUND,), False),
        (REMOTE, (ROUND,), False),
        (REMOTE, (TIMING,), False),
        (replace(TIMING, device_key="m1-cpu"), (REMOTE, IMPORT), True),
        (REMOTE, (REMOTE, IMPORT, STAGE), True),
    ],
)
def test_what_is_timed_on_this_machine_is_alone_on_it(task: Task, running: tuple[Task, ...], fits: bool) -> None:
    assert plan.fits_beside(task, running, "local") == fits


@pytest.mark.parametrize("state", ["importing", "verifying", "benchmarking"])
def test_what_does_not_measure_needs_no_device(state: JobState) -> None:
    assert isinstance(decide(Situation("job-1", state, device_problem="no device")), RunStage)


@pytest.mark.parametrize("remote", [True, False])
@pytest.mark.parametrize("state", ["importing", "extracting", "compiling", "verifying"])
def test_a_job_that_only_compiles_needs_no_device(state: JobState, remote: bool) -> None:
    at = Situation("job-1", state, device_problem="no device", remote=remote, compile_only=True)
    assert decide(at) == RunStage(STAGES[state])
    assert not plan.needs_device(state, remote, compile_only=True)


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
def test_a_stage_does_not_begin_on_a_full_disk(state: JobState) -> None:
    action = decide(Situation("job-1", state, storage_problem="1 MiB are free."))
    assert isinstance(action, Move)
    assert action.error is not None
    assert (action.event, action.error["code"]) == ("fail", "storage_full")


def test_a_stage_key_changes_when_its_process_has_died() -> None:
    job = Job(id="job-1", model_id="m", target="local", budget_trials=64, state="compiling")
    first = plan.stage_key(job)
    job.attempts = 1
    assert first != plan.stage_key(job)


def test_earlier_measurements_become_a_history_of_rounds() -> None:
    times = [None, 4e-6, 3e-6, None, None, None, 1e-6]
    assert plan.history(times, batch=2) == ((2, 4.0), (4, 3.0), (6, 3.0), (7, 1.0))
    assert plan.history([None, None], batch=2) == ()


def test_a_workload_state_joins_earlier_records_with_the_jobs_rounds() -> None:
    rounds = [round_of(16, best_us=80.0), round_of(16, best_us=120.0), round_of(0, "lost")]
    (state,) = states_of(rounds, earlier=((64, 100.0),), trials=32, best_us=80.0)
    assert (state.trials, state.best_us) == (96, 80.0)
    assert state.history == ((64, 100.0), (80, 80.0), (96, 80.0))
    assert state.sec_per_trial == pytest.approx(10.0 / 32)


def test_the_best_earlier_time_counts_before_the_job_has_one() -> None:
    (state,) = states_of([], earlier=((64, 100.0),))
    assert (state.best_us, state.trials) == (100.0, 64)


@pytest.mark.parametrize("how", ["failed", "done"])
def test_a_workload_whose_rounds_bring_nothing_is_left_alone(how: str) -> None:
    assert states_of([round_of(0, how)])[0].tunable
    assert not states_of([round_of(0, how), round_of(0, how)])[0].tunable


def test_lost_rounds_do_not_speak_against_a_workload() -> None:
    assert states_of([round_of(0, "lost")] * 5)[0].tunable


def test_the_predicted_latency_sums_launches_times_best() -> None:
    tuned = WorkloadState("a", 12, 1e6, best_us=100.0)
    untuned = WorkloadState("b", 2, 1e6, untuned_us=50.0)
    index = WorkloadState("c", 3, 0.0, tunable=False)
    assert plan.predicted_ms([tuned, untuned, index]) == pytest.approx(1.3)
    assert plan.predicted_ms([tuned, WorkloadState("d", 1, 1e6)]) is None


def test_the_budget_counts_what_is_measured_and_what_is_in_flight() -> None:
    job = Job(id="job-1", model_id="m", target="local", budget_trials=100, budget_sec=60.0)
    left = plan.budget_left(job, [round_of(16), round_of(7, "lost")], [ROUND], batch=16)
    assert left.trials_left == 100 - 16 - 7 - 16
    assert left.seconds_left == pytest.approx(60.0 - 20.0)


def test_a_failed_series_is_ended_by_a_round_that_worked_but_not_by_a_lost_one() -> None:
    failed, lost, done = round_of(0, "failed"), round_of(0, "lost"), round_of(16)
    assert len(plan.failed_tail([failed, done, failed, lost, failed])) == 2
    assert plan.failed_tail([failed, done]) == []


def test_tuning_that_never_worked_fails_with_the_last_error() -> None:
    move = plan.after_stop("job-1", Stop("nothing"), [round_of(0, "failed")])
    assert move.event == "fail"
    assert move.error is not None
    assert "no schedule" in move.error["message"]


@pytest.mark.parametrize("reason", ["trials", "seconds", "gain", "nothing"])
def test_tuning_that_ends_says_why_and_goes_on(reason: str) -> None:
    move = plan.after_stop("job-1", Stop(reason), [round_of(16)])  # type: ignore[arg-type]
    assert move.event == "done"
    assert (move.message or "").startswith(plan.STOPS[reason])


@pytest.mark.parametrize(
    ("summary", "weight_bytes", "expected"),
    [
        ("float32[128,768] x float32[768,768] -> float32[128,768]", 0, 4 * (128 * 768 * 2 + 768 * 768)),
        ("int64[1,128] x float16[10,4] -> bool[1,128]", 0, 8 * 128 + 2 * 40 + 128),
        ("float32[] -> float32[2]", 0, 12),
        ("something else", 64, 64),
    ],
)
def test_traffic_is_read_from_the_shapes(summary: str, weight_bytes: int, expected: float) -> None:
    assert traffic_bytes(summary, weight_bytes) == expected


def round_of(measured: int, state: str = "done", best_us: float | None = None) -> Round:
    started = utcnow()
    return Round(
        id="rnd-x",
        job_id="job-1",
        workload_id=make_workload().id,
        state=state,
        measured=measured,
        best_us=best_us,
        build_sec=2.0,
        measure_sec=3.0,
        error="no schedule" if state == "failed" else "",
        started_at=started,
        finished_at=started + timedelta(seconds=10),
    )


def states_of(
    rounds: list[Round],
    earlier: tuple[tuple[int, float], ...] = (),
    trials: int = 0,
    best_us: float | None = None,
) -> list[WorkloadState]:
    workload = make_workload()
    link = JobWorkload(job_id="job-1", workload_id=workload.id, weight=12, trials=trials, best_us=best_us)
    return plan.workload_states([(link, workload)], rounds, {workload.id: earlier} if earlier else {})
