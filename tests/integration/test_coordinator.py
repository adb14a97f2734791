"""The coordinator over a real database, with stages and an engine that do as they are told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from tests.support.coordination import Bench
from tests.support.fake_engine import Hangs, ProcessDied, Stage
from tests.support.fake_stages import FAMILY, finish, measure, tune_round
from tests.support.rows import make_record, make_workload, utcnow
from tuner.config import Settings
from tuner.db import records
from tuner.db.engine import write
from tuner.db.models import Device, Round, Workload
from tuner.errors import DeviceUnavailable, ModelInvalid, ProcessLost, StorageFull, TunerError
from tuner.jobs import control, course, job_folders, leadership, plan, tasks, tuning
from tuner.jobs.device_watch import MAX_CRASHES
from tuner.state import STAGES

# Between them these tests send every statement that a pass sends; of the others only decisions differ.
on_both_databases = pytest.mark.both_databases

REMOTE = "linux-arm64"  # a target whose device is not this machine
LIFE = ["importing", "extracting", "tuning", "compiling", "verifying", "benchmarking", "succeeded"]


@pytest.fixture
def bench(settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Leases, which are by the database's clock, end only when a test says so."""
    monkeypatch.setattr(leadership, "LEASE_TTL_SEC", 3600.0)
    return Bench(settings, engine)


def hang(settings: Settings, job_id: str, round_id: str = "") -> None:
    raise Hangs


def die(settings: Settings, job_id: str, round_id: str = "") -> None:
    raise ProcessDied


def stage_that(error: Exception) -> Stage:
    def stage(settings: Settings, job_id: str, round_id: str = "") -> None:
        raise error

    return stage


@on_both_databases
def test_a_job_goes_through_its_whole_life(bench: Bench) -> None:
    job_id = bench.submit()
    job = bench.run_to(job_id, "succeeded")
    assert bench.states(job_id) == LIFE
    assert (job.progress, job.trials, job.artifact_id, job.latency_ms) == (1.0, 64, "art-1", 12.5)
    assert job.started_at is not None
    assert job.finished_at is not None
    assert job.error is None


def test_each_round_is_told_with_what_it_brought(bench: Bench) -> None:
    job_id = bench.submit()
    bench.run_to(job_id, "succeeded")
    told = [event.data for event in bench.events(job_id, "round")]
    assert len(told) == len(bench.rounds(job_id, "done"))
    assert told[-1]["trials"] == 64
    assert sum(data["measured"] for data in told) == 64
    assert {data["workload_id"] for data in told} == {make_workload(1).id, make_workload(2).id}
    latencies = [data["predicted_ms"] for data in told]
    assert latencies == sorted(latencies, reverse=True)
    times = [data["t_sec"] for data in told]
    assert times == sorted(times)
    assert [data["rounds"] for data in told] == list(range(1, len(told) + 1))
    assert all(0 < data["fewest_left"] <= 64 - data["trials"] for data in told[:-1])
    assert told[-1]["fewest_left"] == 0


def test_progress_only_ever_grows(bench: Bench) -> None:
    job_id = bench.submit()
    found = []
    while bench.job(job_id).state != "succeeded":
        bench.pass_()
        found.append(bench.job(job_id).progress)
    assert found == sorted(found)
    assert len(set(found)) > len(LIFE)


def test_tuning_ends_with_the_time_budget(bench: Bench) -> None:
    job_id = bench.submit(budget_trials=10_000, budget_sec=0.5)
    bench.run_to(job_id, "succeeded")
    assert bench.job(job_id).trials < 100
    assert any("time budget" in event.data["message"] for event in bench.events(job_id, "state"))


@pytest.mark.parametrize("stage", STAGES.values())
def test_a_job_is_cancelled_while_a_stage_runs(bench: Bench, stage: str) -> None:
    bench.cluster.stages[stage] = hang
    job_id = bench.submit()
    bench.run_until(lambda: f"{job_id}/{stage}/0" in bench.cluster.running)
    bench.ask(control.cancel, job_id)
    bench.pass_(0.1)
    assert bench.job(job_id).state != "cancelled"  # it gets the chance to end by itself
    bench.run_to(job_id, "cancelled")
    assert bench.cluster.killed == [f"{job_id}/{stage}/0"]
    assert not bench.cluster.running


def test_a_job_is_cancelled_while_a_round_runs(bench: Bench) -> None:
    bench.cluster.stages["tune_round"] = hang
    job_id = bench.submit()
    bench.run_until(lambda: bench.rounds(job_id, "running"))
    bench.ask(control.cancel, job_id)
    bench.run_to(job_id, "cancelled")
    assert [row.state for row in bench.rounds(job_id)] == ["lost"]
    assert bench.job(job_id).wish == ""


@on_both_databases
def test_what_a_round_had_recorded_when_it_was_cancelled_counts(bench: Bench) -> None:
    def measure_some_and_hang(settings: Settings, job_id: str, round_id: str) -> None:
        with write(bench.database) as session:
            measure(session, job_id, round_id, 3)
        bench.cluster.running[round_id] = lambda: hang(settings, job_id)
        raise Hangs

    bench.cluster.stages["tune_round"] = measure_some_and_hang
    job_id = bench.submit()
    bench.run_until(lambda: bench.rounds(job_id, "running"))
    bench.pass_()
    bench.ask(control.cancel, job_id)
    assert bench.run_to(job_id, "cancelled").trials == 3


def test_a_job_is_cancelled_before_it_began_and_while_it_is_paused(bench: Bench) -> None:
    submitted = bench.submit()
    bench.ask(control.cancel, submitted)
    bench.pass_()
    assert bench.job(submitted).state == "cancelled"
    paused = bench.submit(state="paused")
    bench.ask(control.cancel, paused)
    bench.pass_()
    assert bench.job(paused).state == "cancelled"
    assert bench.cluster.submitted == []


def test_a_cancelled_round_that_ends_by_itself_is_not_killed(bench: Bench) -> None:
    bench.cluster.stages["tune_round"] = hang
    job_id = bench.submit()
    bench.run_until(lambda: bench.rounds(job_id, "running"))
    bench.ask(control.cancel, job_id)
    (row,) = bench.rounds(job_id)
    bench.cluster.running[row.id] = lambda: tune_round(bench.settings, job_id, row.id)
    bench.pass_(0.1)
    bench.pass_(0.1)
    assert bench.job(job_id).state == "cancelled"
    assert bench.cluster.killed == []
    assert bench.job(job_id).trials == row.batch


@on_both_databases
def test_a_job_pauses_between_rounds_and_goes_on_when_resumed(bench: Bench) -> None:
    job_id = bench.submit()
    bench.run_until(lambda: bench.rounds(job_id, "done"))
    bench.ask(control.pause, job_id)
    job = bench.run_to(job_id, "paused")
    before = len(bench.rounds(job_id))
    for _ in range(5):
        bench.pass_()
    assert len(bench.rounds(job_id)) == before
    assert bench.job(job_id).progress == job.progress
    bench.ask(control.resume, job_id)
    assert bench.run_to(job_id, "succeeded").trials == 64


def test_a_pause_asked_for_early_holds_when_tuning_begins(bench: Bench) -> None:
    job_id = bench.submit()
    bench.ask(control.pause, job_id)
    bench.run_to(job_id, "paused")
    assert bench.rounds(job_id) == []


@pytest.mark.parametrize(
    ("wish", "change", "state"),
    [
        ("pause", control.cancel, "cancelled"),
        ("resume", control.cancel, "cancelled"),
        ("pause", control.resume, "tuning"),
    ],
)
def test_a_wish_that_comes_while_another_is_granted_is_not_lost(
    bench: Bench, wish: str, change: Callable[[Session, str], object], state: str
) -> None:
    bench.cluster.stages["import_model"] = hang
    bench.submit()
    bench.run_until(lambda: bench.cluster.running)
    waiting = bench.submit(state="paused" if wish == "resume" else "tuning", wish=wish)
    asked = []

    def ask_and_hang() -> None:  # after the coordinator has read what is wished for, and before it acts
        if not asked:
            asked.append(bench.ask(change, waiting))
        raise Hangs

    bench.cluster.running = dict.fromkeys(bench.cluster.running, ask_and_hang)
    bench.pass_()
    bench.pass_()
    assert (bench.job(waiting).state, bench.job(waiting).wish) == (state, "")


@pytest.mark.parametrize("stage", STAGES.values())
@on_both_databases
def test_a_stage_whose_process_died_runs_again(bench: Bench, stage: str) -> None:
    good = bench.cluster.stages[stage]
    bench.cluster.stages[stage] = die
    job_id = bench.submit()
    bench.run_until(lambda: bench.job(job_id).attempts == 1)
    assert "attempt 2 of 3" in bench.events(job_id, "message")[-2].data["message"]
    bench.cluster.stages[stage] = good
    bench.run_to(job_id, "succeeded")


@pytest.mark.parametrize(
    "trouble", [ProcessLost("The benchmark process ended with code -9."), StorageFull("No space.")]
)
@pytest.mark.parametrize("stage", STAGES.values())
def test_a_stage_that_the_machine_s_trouble_ended_runs_again(bench: Bench, stage: str, trouble: TunerError) -> None:
    def meet_trouble(settings: Settings, job_id: str) -> None:
        raise trouble

    good = bench.cluster.stages[stage]
    bench.cluster.stages[stage] = meet_trouble
    job_id = bench.submit()
    bench.run_until(lambda: bench.job(job_id).attempts == 1)
    assert trouble.message in bench.job(job_id).message
    bench.cluster.stages[stage] = good
    bench.now += 10
    bench.run_to(job_id, "succeeded")


@pytest.mark.parametrize("stage", STAGES.values())
@on_both_databases
def test_a_stage_that_kills_its_process_each_time_fails_the_job(bench: Bench, stage: str) -> None:
    bench.cluster.stages[stage] = die
    job_id = bench.submit()
    job = bench.run_to(job_id, "failed")
    assert job.error is not None
    assert job.error["code"] == "stage_failed"
    assert stage in job.error["message"]
    assert sum(name == stage for name, _ in bench.cluster.submitted) == plan.MAX_ATTEMPTS


@on_both_databases
def test_a_lost_round_costs_only_what_it_had_not_recorded(bench: Bench) -> None:
    def measure_five_then_die(settings: Settings, job_id: str, round_id: str) -> None:
        bench.cluster.stages["tune_round"] = tune_round
        with write(bench.database) as session:
            measure(session, job_id, round_id, 5)
        raise ProcessDied

    bench.cluster.stages["tune_round"] = measure_five_then_die
    job_id = bench.submit()
    job = bench.run_to(job_id, "succeeded")
    lost = bench.rounds(job_id, "lost")
    assert [row.measured for row in lost] == [5]
    assert lost[0].best_us is not None
    assert job.trials == 64


@on_both_databases
def test_rounds_that_die_now_and_then_do_not_fail_a_job(bench: Bench) -> None:
    calls = []

    def die_each_second_time(settings: Settings, job_id: str, round_id: str) -> None:
        calls.append(round_id)
        if len(calls) % 2:
            raise ProcessDied
        tune_round(settings, job_id, round_id)

    bench.cluster.stages["tune_round"] = die_each_second_time
    job_id = bench.submit()
    bench.run_to(job_id, "succeeded")
    assert len(bench.rounds(job_id, "lost")) > plan.MAX_ATTEMPTS


def test_rounds_that_always_die_fail_the_job(bench: Bench) -> None:
    bench.cluster.stages["tune_round"] = die
    job = bench.run_to(bench.submit(), "failed")
    assert job.error is not None
    assert "3 times in a row" in job.error["message"]


def test_a_round_past_its_deadline_is_ended_and_lost(bench: Bench) -> None:
    bench.cluster.stages["tune_round"] = hang
    job_id = bench.submit()
    bench.run_until(lambda: bench.rounds(job_id, "running"))
    (row,) = bench.rounds(job_id)
    bench.cluster.stages["tune_round"] = tune_round
    bench.pass_(plan.ROUND_DEADLINE_SEC + 1)
    assert bench.cluster.killed == [row.id]
    assert bench.rounds(job_id)[0].state == "lost"
    bench.run_to(job_id, "succeeded")


@pytest.mark.parametrize("stage", STAGES.values())
@on_both_databases
def test_an_error_of_a_stage_fails_the_job_with_that_error(bench: Bench, stage: str) -> None:
    error = ModelInvalid("The model has no config.", "Point at a folder that has one.")
    bench.cluster.stages[stage] = stage_that(error)
    job_id = bench.submit()
    job = bench.run_to(job_id, "failed")
    assert job.error == error.as_dict()
    assert bench.events(job_id, "state")[-1].data["error"] == error.as_dict()


def test_a_workload_that_can_not_be_searched_is_left_alone(bench: Bench) -> None:
    bad = make_workload(1).id

    def round_(settings: Settings, job_id: str, round_id: str) -> None:
        if next(row for row in bench.rounds(job_id) if row.id == round_id).workload_id == bad:
            raise ValueError("no schedule")
        tune_round(settings, job_id, round_id)

    bench.cluster.stages["tune_round"] = round_
    job_id = bench.submit(budget_trials=1000)
    bench.run_to(job_id, "succeeded")
    assert sum(row.workload_id == bad for row in bench.rounds(job_id)) == course.MAX_WORKLOAD_FAILURES


def test_rounds_that_fail_now_and_then_leave_no_workload_untuned(bench: Bench) -> None:
    calls: Counter[str] = Counter()

    def fail_each_second_time(settings: Settings, job_id: str, round_id: str) -> None:
        workload_id = next(row for row in bench.rounds(job_id) if row.id == round_id).workload_id
        calls[workload_id] += 1
        if calls[workload_id] % 2:
            raise OSError("too many open files")
        tune_round(settings, job_id, round_id)

    bench.cluster.stages["tune_round"] = fail_each_second_time
    job_id = bench.submit(budget_trials=400)
    bench.run_to(job_id, "succeeded")
    assert len(bench.rounds(job_id, "failed")) > course.MAX_WORKLOAD_FAILURES
    assert not tuning.given_up(bench.rounds(job_id))


def test_a_job_rests_after_a_round_that_failed(bench: Bench) -> None:
    bench.cluster.stages["tune_round"] = stage_that(OSError("too many open files"))
    job_id = bench.submit()
    bench.run_until(lambda: bench.rounds(job_id, "failed"))
    bench.pass_(0.5)
    assert len(bench.rounds(job_id)) == 1
    assert "after a round that failed" in bench.job(job_id).message
    bench.cluster.stages["tune_round"] = tune_round
    bench.run_to(job_id, "succeeded")


@on_both_databases
def test_a_job_whose_rounds_all_fail_says_why(bench: Bench) -> None:
    bench.cluster.stages["tune_round"] = stage_that(ValueError("no schedule"))
    job = bench.run_to(bench.submit(), "failed")
    assert job.error is not None
    assert "no schedule" in job.error["message"]


def test_a_job_waits_for_its_device_and_says_so(bench: Bench) -> None:
    bench.devices = {}
    job_id = bench.submit()
    for _ in range(10):
        bench.pass_()
    job = bench.job(job_id)
    assert job.state == "extracting"
    assert "waiting for a device of local" in job.message
    assert not bench.cluster.running
    bench.devices = {"local": 1}
    bench.run_to(job_id, "succeeded")


@on_both_databases
def test_a_job_for_a_device_that_was_never_seen_waits_until_it_says_what_it_is(bench: Bench) -> None:
    bench.devices = {}
    job_id = bench.submit(target_family="", target_json={})
    bench.pass_()
    assert bench.job(job_id).state == "submitted"
    assert "waiting for a device of local" in bench.job(job_id).message
    bench.devices = {"local": 1}
    facts = {"mtriple": "x86_64-linux-gnu", "mcpu": "znver5", "threads": 2}
    with write(bench.database) as session:
        session.add(Device(key="local", facts=facts))
    job = bench.run_to(job_id, "importing")
    assert job.target_family == "llvm-x86_64-znver5-2c"
    assert job.target_json["mcpu"] == "znver5"


def test_a_device_that_does_not_come_is_waited_for(bench: Bench) -> None:
    bench.cluster.stages["tune_round"] = stage_that(DeviceUnavailable("No device answered.", ""))
    job_id = bench.submit()
    bench.run_until(lambda: "No device answered" in bench.job(job_id).message)
    bench.pass_(1.0)
    assert [row.state for row in bench.rounds(job_id)] == ["lost"]  # it is not asked for again at once
    bench.cluster.stages["tune_round"] = tune_round
    assert bench.run_to(job_id, "succeeded").trials == 64


@on_both_databases
def test_a_device_that_crashes_with_every_candidate_is_quarantined(bench: Bench) -> None:
    def crash(settings: Settings, job_id: str, round_id: str) -> None:
        with write(bench.database) as session:
            measure(session, job_id, round_id, None, error_class="crash")
            finish(session, round_id)

    bench.cluster.stages["tune_round"] = crash
    job_id = bench.submit(budget_trials=1000)
    bench.run_until(lambda: "out of use" in bench.job(job_id).message)
    assert len(bench.rounds(job_id)) == MAX_CRASHES
    for _ in range(5):
        bench.pass_()
    assert len(bench.rounds(job_id)) == MAX_CRASHES
    bench.cluster.stages["tune_round"] = tune_round
    bench.expire_lease()
    bench.coordinator = bench.successor()  # as after a restart of the service
    bench.run_to(job_id, "succeeded")


def test_candidates_that_only_time_out_do_not_quarantine_the_device(bench: Bench) -> None:
    def time_out(settings: Settings, job_id: str, round_id: str) -> None:
        with write(bench.database) as session:
            measure(session, job_id, round_id, None, error_class="timeout")
            finish(session, round_id)

    bench.cluster.stages["tune_round"] = time_out
    bench.run_to(bench.submit(budget_trials=200), "succeeded")


def test_several_devices_tune_several_workloads_at_once(bench: Bench) -> None:
    bench.devices = {REMOTE: 2}
    bench.cluster.room = 4
    bench.cluster.stages["tune_round"] = hang
    job_id = bench.submit(target=REMOTE)
    bench.run_until(lambda: len(bench.rounds(job_id, "running")) == 2)
    bench.pass_()
    running = bench.rounds(job_id, "running")
    assert len({row.workload_id for row in running}) == len(running) == 2


def test_a_remote_device_is_searched_for_while_it_measures(bench: Bench) -> None:
    bench.devices = {"local": 1, REMOTE: 1}
    bench.cluster.room = 4
    bench.cluster.stages["tune_round"] = hang
    job_id = bench.submit(target=REMOTE)
    bench.run_until(lambda: len(bench.rounds(job_id, "running")) == 2)
    other = bench.submit(target=REMOTE)
    bench.run_until(lambda: bench.job(other).state == "extracting")
    bench.pass_()
    assert bench.cluster.submitted[-1][0] == "import_model"  # the device is taken


def test_nothing_runs_beside_what_is_timed_on_this_machine(bench: Bench) -> None:
    bench.devices = {"local": 1, REMOTE: 1}
    bench.cluster.room = 4
    bench.cluster.stages["tune_round"] = hang
    local = bench.submit()
    bench.run_until(lambda: bench.rounds(local, "running"))
    remote = bench.submit(target=REMOTE)
    for _ in range(3):
        bench.pass_()
    assert bench.job(remote).state == "submitted"
    bench.ask(control.cancel, local)
    bench.run_until(lambda: len(bench.rounds(remote, "running")) == 2)
    bench.submit(priority=5)
    for _ in range(3):
        bench.pass_()
    assert len(bench.cluster.running) == 2


@on_both_databases
def test_a_remote_job_waits_for_its_device_to_be_verified_on(bench: Bench) -> None:
    bench.devices = {"local": 1, REMOTE: 1}

    def leave(settings: Settings, job_id: str) -> None:
        bench.devices = {"local": 1}

    bench.cluster.stages["compile_module"] = leave
    job_id = bench.submit(target=REMOTE)
    bench.run_until(lambda: "tunesmith agent" in bench.job(job_id).message)
    assert bench.job(job_id).state in tasks.RUNS_MODULE
    bench.devices = {"local": 1, REMOTE: 1}
    bench.run_to(job_id, "succeeded")


def test_a_job_that_fails_leaves_no_round_running(bench: Bench) -> None:
    bench.devices = {REMOTE: 2}
    bench.cluster.room = 2
    hanging = make_workload(2).id

    def die_or_hang(settings: Settings, job_id: str, round_id: str) -> None:
        row = next(row for row in bench.rounds(job_id) if row.id == round_id)
        raise Hangs if row.workload_id == hanging else ProcessDied

    bench.cluster.stages["tune_round"] = die_or_hang
    job_id = bench.submit(target=REMOTE)
    bench.run_to(job_id, "failed")
    bench.pass_()
    assert not bench.cluster.running
    assert {row.state for row in bench.rounds(job_id)} == {"lost"}


@on_both_databases
def test_equal_jobs_take_turns_and_a_higher_priority_goes_first(bench: Bench) -> None:
    first, second = bench.submit(), bench.submit()
    bench.run_until(lambda: bench.job(first).state == bench.job(second).state == "tuning")
    bench.cluster.submitted.clear()
    for _ in range(6):
        bench.pass_()
    turns = [kwargs["job_id"] for _, kwargs in bench.cluster.submitted]
    assert turns[:4] in ([first, second] * 2, [second, first] * 2)
    urgent = bench.submit(priority=5)
    bench.run_to(urgent, "succeeded")
    assert bench.job(first).state != "succeeded"


@on_both_databases
def test_only_one_of_two_coordinators_acts(bench: Bench) -> None:
    job_id = bench.submit()
    bench.pass_()
    idle = bench.successor()
    assert not idle.tick()
    submitted = len(bench.cluster.submitted)
    assert not idle.tick()
    assert len(bench.cluster.submitted) == submitted
    bench.run_to(job_id, "succeeded")


@on_both_databases
def test_a_coordinator_whose_lease_was_taken_stops_acting(bench: Bench) -> None:
    bench.submit()
    bench.pass_()
    bench.expire_lease()
    assert bench.successor().tick()
    bench.now += 10
    assert not bench.coordinator.tick()


@on_both_databases
def test_a_successor_adopts_the_round_that_its_predecessor_left_running(bench: Bench) -> None:
    bench.cluster.stages["tune_round"] = hang
    job_id = bench.submit()
    bench.run_until(lambda: bench.rounds(job_id, "running"))
    (row,) = bench.rounds(job_id)
    bench.expire_lease()
    bench.coordinator = bench.successor()
    bench.pass_()
    assert [found.state for found in bench.rounds(job_id)] == ["running"]
    bench.cluster.stages["tune_round"] = tune_round
    bench.cluster.running[row.id] = lambda: tune_round(bench.settings, job_id, row.id)
    bench.run_to(job_id, "succeeded")
    assert bench.rounds(job_id)[0].state == "done"
    assert not bench.rounds(job_id, "lost")


def test_a_round_that_nobody_knows_after_a_restart_is_lost_and_tuning_goes_on(bench: Bench) -> None:
    bench.cluster.stages["tune_round"] = hang
    job_id = bench.submit()
    bench.run_until(lambda: bench.rounds(job_id, "running"))
    bench.cluster.restart()
    bench.cluster.stages["tune_round"] = tune_round
    bench.expire_lease()
    bench.coordinator = bench.successor()
    job = bench.run_to(job_id, "succeeded")
    assert [row.state for row in bench.rounds(job_id)].count("lost") == 1
    assert (job.trials, job.attempts) == (64, 0)


def test_one_that_was_stopped_in_a_pass_while_another_took_over_writes_nothing(bench: Bench) -> None:
    job_id = bench.submit()
    bench.pass_()
    stopped, before = bench.coordinator, len(bench.cluster.submitted)
    look = bench.summary

    def sleep_through_a_change() -> dict[str, Any]:
        bench.summary = look  # type: ignore[method-assign]
        bench.expire_lease()
        assert bench.successor().tick()
        return look()

    bench.summary = sleep_through_a_change  # type: ignore[method-assign]
    bench.coordinator = stopped
    bench.now += 3
    rounds = len(bench.rounds(job_id))
    assert not stopped.tick()
    assert len(bench.rounds(job_id)) == rounds
    assert len(bench.cluster.submitted) <= before + 1  # the successor's


@on_both_databases
def test_a_stage_keeps_its_deadline_however_often_the_coordinator_restarts(bench: Bench) -> None:
    bench.cluster.stages["extract"] = hang
    job_id = bench.submit()
    key = f"{job_id}/extract/0"
    bench.run_until(lambda: key in bench.cluster.running)
    for _ in range(4):
        bench.expire_lease()
        bench.coordinator = bench.successor()
        bench.pass_(plan.STAGE_DEADLINE_SEC / 3)
    assert bench.cluster.killed == [key]


@on_both_databases
def test_a_clock_that_is_set_does_not_make_a_round_overdue(bench: Bench) -> None:
    bench.cluster.stages["tune_round"] = hang
    job_id = bench.submit()
    bench.run_until(lambda: bench.rounds(job_id, "running"))
    with write(bench.database) as session:
        session.get_one(Round, bench.rounds(job_id)[0].id).started_at = utcnow() - timedelta(hours=5)
    bench.expire_lease()
    bench.coordinator = bench.successor()
    bench.pass_()
    assert bench.cluster.killed == []


def test_rounds_that_overlap_are_counted_once(bench: Bench) -> None:
    bench.devices = {"local": 1, REMOTE: 1}
    bench.cluster.room = 4
    bench.cluster.stages["tune_round"] = hang
    job_id = bench.submit(target=REMOTE)
    bench.run_until(lambda: len(bench.rounds(job_id, "running")) == 2)
    start = bench.now
    for row in bench.rounds(job_id, "running"):
        bench.now += 30
        bench.cluster.running[row.id] = lambda row=row: tune_round(bench.settings, job_id, row.id)  # type: ignore[misc]
        bench.pass_(0.0)
    assert bench.job(job_id).tuning_sec <= bench.now - start + 3.0


@pytest.mark.parametrize("fault", [KeyError("mcpu"), IntegrityError("insert", None, ValueError("unique"))])
def test_a_job_that_can_not_be_looked_after_stops_no_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    bad = bench.submit(priority=5)
    decide = plan.decide

    def decide_or_break(at: plan.Situation) -> plan.Action:
        if at.job_id == bad:
            raise fault
        return decide(at)

    monkeypatch.setattr(plan, "decide", decide_or_break)
    bench.run_to(bench.submit(), "succeeded")
    assert "waiting after a fault of the service" in bench.job(bad).message
    monkeypatch.undo()
    bench.run_to(bad, "succeeded")


@on_both_databases
def test_a_resigned_coordinator_is_followed_at_once(bench: Bench) -> None:
    bench.submit()
    bench.pass_()
    bench.coordinator.resign()
    assert bench.successor().tick()


def test_an_engine_that_is_away_is_waited_for_and_costs_no_attempt(bench: Bench) -> None:
    bench.cluster.stages["tune_round"] = hang
    job_id = bench.submit()
    bench.run_until(lambda: bench.rounds(job_id, "running"))
    bench.cluster.is_down = True
    bench.pass_()
    assert "waiting for the engine" in bench.job(job_id).message
    bench.cluster.is_down = False
    bench.cluster.restart()
    bench.cluster.stages["tune_round"] = tune_round
    job = bench.run_to(job_id, "succeeded")
    assert job.attempts == 0
    assert job.trials == 64


def test_what_an_unreachable_engine_still_runs_takes_room_until_its_end_is_sure(bench: Bench) -> None:
    bench.cluster.stages["tune_round"] = hang
    job_id = bench.submit()
    bench.run_until(lambda: bench.rounds(job_id, "running"))
    (row,) = bench.rounds(job_id)
    bench.cluster.is_down = True
    bench.ask(control.cancel, job_id)
    bench.run_to(job_id, "cancelled")
    bench.cluster.is_down = False
    bench.cluster.stages["tune_round"] = tune_round
    bench.submit()
    bench.pass_()
    assert bench.cluster.killed == [row.id]
    assert row.id not in bench.cluster.running


def test_a_message_ends_with_what_it_tells_of(bench: Bench) -> None:
    bench.cluster.stages["import_model"] = hang
    bench.submit()
    bench.run_until(lambda: bench.cluster.running)
    second = bench.submit()
    bench.cluster.is_down = True
    bench.pass_()
    assert "waiting for the engine" in bench.job(second).message
    bench.cluster.is_down = False
    bench.pass_()
    assert bench.job(second).message == plan.WAITS_FOR_TURN


def test_a_job_can_be_cancelled_while_the_engine_is_away(bench: Bench) -> None:
    bench.cluster.stages["tune_round"] = hang
    job_id = bench.submit()
    bench.run_until(lambda: bench.rounds(job_id, "running"))
    bench.cluster.is_down = True
    bench.ask(control.cancel, job_id)
    bench.run_to(job_id, "cancelled")


def test_an_engine_without_workers_is_said(bench: Bench) -> None:
    bench.cluster.room = 0
    job_id = bench.submit()
    bench.pass_()
    assert "waiting for a worker" in bench.job(job_id).message
    bench.cluster.room = 1
    bench.run_to(job_id, "succeeded")


def test_tuning_pauses_when_the_disk_gets_full_and_can_be_resumed(bench: Bench) -> None:
    job_id = bench.submit()
    bench.run_until(lambda: bench.rounds(job_id, "done"))
    bench.free_bytes = 1
    job = bench.run_to(job_id, "paused")
    assert "TUNER_MIN_FREE_BYTES" in job.message
    assert f"tunesmith resume {job_id}" in job.message
    bench.free_bytes = bench.settings.min_free_bytes
    bench.ask(control.resume, job_id)
    bench.run_to(job_id, "succeeded")


@on_both_databases
def test_jobs_wait_in_sight_while_the_disk_is_full_before_they_begin(bench: Bench) -> None:
    bench.free_bytes = 1
    queue = [bench.submit() for _ in range(3)]
    for _ in range(3):
        bench.pass_()
    assert bench.cluster.submitted == []
    assert all("waiting for room on the disk" in bench.job(job_id).message for job_id in queue)
    bench.free_bytes = bench.settings.min_free_bytes
    for job_id in queue:
        bench.run_to(job_id, "succeeded")


@on_both_databases
def test_a_disk_that_gets_full_within_a_round_pauses_the_job(bench: Bench) -> None:
    bench.cluster.stages["tune_round"] = stage_that(StorageFull("No space is left.", "Free some."))
    assert "No space is left" in bench.run_to(bench.submit(), "paused").message


def test_a_job_that_is_being_cancelled_when_the_disk_gets_full_is_cancelled(bench: Bench) -> None:
    def cancelled_then_full(settings: Settings, job_id: str, round_id: str) -> None:
        bench.ask(control.cancel, job_id)
        raise StorageFull("No space is left.", "Free some.")

    bench.cluster.stages["tune_round"] = cancelled_then_full
    bench.run_to(bench.submit(), "cancelled")


def test_known_records_shorten_tuning_and_the_job_says_so(bench: Bench) -> None:
    know_all(bench)
    job_id = bench.submit(budget_trials=10_000)
    bench.run_to(job_id, "succeeded")
    messages = [event.data["message"] for event in bench.events(job_id, "message")]
    assert any("1200 known records" in message for message in messages)
    assert bench.rounds(job_id) == []
    assert bench.job(job_id).predicted_ms is not None


def test_a_cold_job_ignores_what_is_known(bench: Bench) -> None:
    know_all(bench)
    job_id = bench.submit(cold=True)
    bench.run_to(job_id, "succeeded")
    assert bench.job(job_id).trials == 64


def know_all(bench: Bench) -> None:
    """600 records, the best of them early, for each workload that can be tuned."""
    with write(bench.database) as session:
        for number in (1, 2):
            workload: Workload = make_workload(number, flops=1e8 / number)
            records.put_workload(session, workload)
            for n in range(600):
                mean_sec = (1e-3 if n < 16 else 2e-3) / number
                records.add(session, make_record(f"known-{n}", mean_sec, number, FAMILY))


def test_what_a_job_left_on_disk_goes_with_its_end_and_not_before(bench: Bench) -> None:
    first, second, of_long_ago = bench.submit(), bench.submit(), "job-0123456789"
    bench.run_to(first, "tuning")
    for name in (first, second, of_long_ago):
        (job_folders.make(bench.settings, bench.database, name) / "staging").mkdir()
    bench.coordinator = bench.successor()  # it knows no more than the database
    bench.expire_lease()
    bench.run_until(lambda: not (bench.settings.jobs_dir / of_long_ago).exists(), passes=5)
    assert {path.name for path in bench.settings.jobs_dir.iterdir()} == {first, second}
    bench.ask(control.cancel, second)
    bench.run_to(second, "cancelled")
    bench.pass_()
    assert {path.name for path in bench.settings.jobs_dir.iterdir()} == {first}
    bench.run_to(first, "succeeded")
    bench.pass_()
    assert list(bench.settings.jobs_dir.iterdir()) == []


def test_a_job_for_a_device_that_is_not_there_waits_in_sight_and_leaves_the_engine_to_others(bench: Bench) -> None:
    waiting = bench.submit(target="m1-metal", target_family="metal-apple-m1-1024t")
    bench.run_until(lambda: bench.job(waiting).message.startswith("waiting for a device of m1-metal"))
    assert "--key m1-metal" in bench.job(waiting).message
    assert bench.job(waiting).state == "extracting"
    bench.run_to(bench.submit(), "succeeded")
    bench.ask(control.cancel, waiting)
    bench.run_to(waiting, "cancelled")


def test_a_job_that_only_compiles_needs_neither_device_nor_rounds(bench: Bench) -> None:
    bench.devices = {}
    job_id = bench.submit(target="m1-metal", target_family="metal-apple-m1-1024t", compile_only=True, budget_trials=0)
    job = bench.run_to(job_id, "succeeded")
    assert bench.states(job_id) == ["importing", "extracting", "compiling", "verifying", "succeeded"]
    assert (bench.rounds(job_id), job.trials, job.progress) == ([], 0, 1.0)
    assert not any("waiting for a device" in event.data["message"] for event in bench.events(job_id, "message"))


def test_a_job_that_only_compiles_does_not_run_beside_what_is_timed_here(bench: Bench) -> None:
    bench.cluster.room = 4
    bench.cluster.stages["tune_round"] = hang
    local = bench.submit()
    bench.run_until(lambda: bench.rounds(local, "running"))
    compiling = bench.submit(target="m1-cpu", compile_only=True, budget_trials=0)
    for _ in range(3):
        bench.pass_()
    assert bench.job(compiling).state == "submitted"


def test_a_job_goes_on_when_its_device_comes(bench: Bench) -> None:
    job_id = bench.submit(target="m1-cpu")
    bench.run_until(lambda: bench.job(job_id).message.startswith("waiting for a device of m1-cpu"))
    bench.devices["m1-cpu"] = 1
    bench.run_to(job_id, "succeeded")
