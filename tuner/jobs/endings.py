"""What the end of a task means for its job. Everything runs within ``write``."""

from __future__ import annotations

from sqlmodel import Session

from tuner.db import jobs
from tuner.db.models import Job, Round
from tuner.errors import DeviceUnavailable, StorageFull
from tuner.jobs import ledger, plan, tuning
from tuner.jobs.device_watch import DeviceWatch
from tuner.jobs.engine import Outcome
from tuner.jobs.forecast import Forecast
from tuner.jobs.messages import tuning_message
from tuner.jobs.tasks import Task
from tuner.state import TERMINAL


def end_task(
    session: Session, task: Task, outcome: Outcome, devices: DeviceWatch, forecast: Forecast, now: float
) -> None:
    """Write down how a task ended at ``now``; one that the job has no use for any more changes nothing."""
    job = session.get(Job, task.job_id)
    if job is None:
        return
    if _lacks_device(outcome):
        devices.note_silence(task.device_key, (outcome.error or {})["message"], now)
    if task.is_round:
        _end_round(session, job, task, outcome, devices, forecast)
    elif ledger.runs_stage(job, task.stage):
        _end_stage(session, job, task, outcome, forecast)


def end_killed(session: Session, task: Task, why: str, forecast: Forecast) -> None:
    """Write down that a task was ended with its process; for a job that goes on that counts as a death."""
    job = session.get(Job, task.job_id)
    row = session.get(Round, task.key) if task.is_round else None
    if row is not None and row.state == "running":
        ledger.close_round(session, row, "lost", why)
        if job is not None:
            session.flush()
            ledger.book(session, job, forecast.states(session, job))
    if job is not None and job.wish != "cancel" and job.state not in TERMINAL:
        ledger.note_death(session, job, _name(task), why)


def _end_stage(session: Session, job: Job, task: Task, outcome: Outcome, forecast: Forecast) -> None:
    if outcome.kind == "done":
        ledger.move(session, job, "done")
        if job.state == "tuning":
            job.predicted_ms = tuning.predicted_ms(forecast.states(session, job))
            ledger.say(session, job, tuning_message(forecast.known_trials(session, job)))
    elif outcome.kind == "failed" and not _lacks_device(outcome):
        ledger.move(session, job, "fail", error=outcome.error)
    elif outcome.kind == "lost":
        ledger.note_death(session, job, _name(task))


def _end_round(
    session: Session, job: Job, task: Task, outcome: Outcome, devices: DeviceWatch, forecast: Forecast
) -> None:
    row = session.get(Round, task.key)
    if row is None:
        return
    error = outcome.error or {}
    if row.state == "running":
        failed = outcome.kind == "failed" and not _lacks_device(outcome)
        ledger.close_round(session, row, "failed" if failed else "lost", error.get("message", ""))
    if job.state != "tuning":
        return
    session.flush()
    if row.state == "done":
        job.attempts = 0
    if row.measured:
        devices.note_round(session, task.device_key, ledger.killed_device(session, row))
    ledger.book(session, job, forecast.states(session, job))
    ledger.tell_round(session, job, row, forecast.fewest_left(session, job))
    rounds = jobs.rounds(session, job.id)
    if outcome.kind == "lost":
        ledger.note_death(session, job, _name(task))
    elif error.get("code") == StorageFull.code:
        ledger.move(session, job, "pause", f"paused: {error['message']} {error['hint']}")
    elif len(tuning.failed_tail(rounds)) >= plan.MAX_FAILED_ROUNDS:
        ledger.move(session, job, "fail", error=tuning.rounds_error(job.id, rounds).as_dict())


def _lacks_device(outcome: Outcome) -> bool:
    return (outcome.error or {}).get("code") == DeviceUnavailable.code


def _name(task: Task) -> str:
    return task.stage or "a round"
