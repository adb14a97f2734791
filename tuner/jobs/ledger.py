"""How the coordinator's decisions and the ends of tasks are written down. Every function runs within ``write``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

from sqlalchemy import bindparam, update
from sqlalchemy import select as sql_select
from sqlmodel import Session, col, select

from tuner.db import clock, events, records
from tuner.db.models import Event, Job, JobWorkload, Record, Round
from tuner.jobs import plan, tuning
from tuner.jobs.course import Course
from tuner.jobs.messages import message_of
from tuner.schemas import JobState
from tuner.search.planner import RoundPlan, WorkloadState
from tuner.state import ACTIVE, STAGES, TERMINAL, advance, budget_used, progress
from tuner.state import Event as StateEvent

DEVICE_DEATH = "crash"  # the error class that, of a whole round, speaks against the device and not the candidates


def move(
    session: Session, job: Job, event: StateEvent, message: str | None = None, error: dict[str, str] | None = None
) -> None:
    """Take the job to its next state and say so; ``error`` is the body of an error answer.

    A wish is over when it is granted, and when the job is; a job that a full disk pauses is still to be cancelled.
    """
    state = advance(cast(JobState, job.state), event, job.compile_only)
    job.state, job.attempts = state, 0
    job.error = error
    job.message = message or (error["message"] if error else message_of(state, job.compile_only))
    job.progress = progress(state, _used(job), job.progress, job.compile_only)
    if event == "start":
        job.started_at = clock.now(session)
    if state in TERMINAL:
        job.finished_at = clock.now(session)
    if state in TERMINAL or event == job.wish:
        job.wish = ""
    session.add(job)
    data = {"state": state, "message": job.message, "progress": job.progress}
    events.emit(session, "state", {**data, "error": error} if error else data, job.id)


def say(session: Session, job: Job, message: str) -> None:
    """Tell people what the job does or waits for; nothing happens when that is known."""
    if job.message != message:
        job.message = message
        session.add(job)
        events.emit(session, "message", {"message": message}, job.id)


def say_all(session: Session, sayings: Mapping[str, tuple[str, str, str]]) -> None:
    """As ``say`` of many jobs, by id, each with the state and the wish that it must have and its message.

    Reads and writes no more of a job than that: one whose row can't be read keeps no other from speaking.
    """
    query = sql_select(Job.id, Job.state, Job.wish, Job.message).where(col(Job.id).in_(sayings))  # type: ignore[call-overload]
    told = {
        job_id: sayings[job_id][2]
        for job_id, *known, message in session.connection().execute(query)
        if (*known,) == sayings[job_id][:2] and message != sayings[job_id][2]
    }
    if told:
        by_id = update(Job).where(col(Job.id) == bindparam("of_job")).values(message=bindparam("told"))
        session.connection().execute(by_id, [{"of_job": job_id, "told": text} for job_id, text in told.items()])
        session.add_all(Event(kind="message", data={"message": text}, job_id=job_id) for job_id, text in told.items())


def drop_wish(session: Session, job: Job) -> None:
    """Forget a wish that has no meaning any more."""
    job.wish = ""
    session.add(job)


def set_target(session: Session, name: str, tvm: dict[str, Any], family: str) -> None:
    """Keep what a target turned out to be, in all jobs that wait to know it."""
    waiting = update(Job).where(col(Job.target) == name, col(Job.target_family) == "", col(Job.state).in_(ACTIVE))
    session.execute(waiting.values(target_json=tvm, target_family=family))


def note_death(session: Session, job: Job, what: str, why: str = "it died") -> None:
    """Count an end of the process that ran ``what``; the job fails after `plan.MAX_ATTEMPTS` in a row."""
    job.attempts += 1
    session.add(job)
    if job.attempts >= plan.MAX_ATTEMPTS:
        move(session, job, "fail", error=plan.death_error(job.id, what, why, job.attempts).as_dict())
    else:
        say(session, job, f"lost {what} ({why}); attempt {job.attempts + 1} of {plan.MAX_ATTEMPTS}")


def new_round(session: Session, job_id: str, planned: RoundPlan, number: int, stamp: str) -> Round:
    """A round that is about to be submitted, the job's ``number``th; ``stamp`` says when (``moments``)."""
    row = Round(job_id=job_id, workload_id=planned.workload_id, batch=planned.batch, number=number, stamp=stamp)
    session.add(row)
    session.flush()
    return row


def close_round(session: Session, row: Round, state: str, error: str = "") -> None:
    """A round that ended without closing its row: what it recorded before counts."""
    row.state, row.error = state, error
    written = records.tally(session, row)
    # When a lost round ended is not known; what nobody worked for must not eat the time budget.
    end_of_nothing = clock.now(session) if state == "failed" else row.started_at
    row.finished_at = max(written, default=end_of_nothing)
    session.add(row)


def book(session: Session, job: Job, courses: Mapping[str, Course], states: Collection[WorkloadState]) -> None:
    """Bring the job's sums up to date."""
    job.trials = tuning.measured(courses)
    job.predicted_ms = tuning.predicted_ms(states)
    job.progress = progress(cast(JobState, job.state), _used(job), job.progress)
    session.add(job)


def tell_round(session: Session, job: Job, ended: Round, rounds: int, fewest_left: int) -> None:
    """Emit the event of a round that ended, after ``book``; ``fewest_left`` trials follow it at least."""
    data = {
        "t_sec": round(job.tuning_sec, 3),
        "trials": job.trials,
        "predicted_ms": job.predicted_ms,
        "workload_id": ended.workload_id,
        "measured": ended.measured,
        "failed": ended.failed,
        "best_us": ended.best_us,
        "progress": job.progress,
        "rounds": rounds,
        "fewest_left": fewest_left,
    }
    events.emit(session, "round", data, job.id)


def killed_device(session: Session, row: Round) -> bool:
    """Did every candidate of this round take its device with it?"""
    classes = session.exec(select(Record.error_class).where(Record.round_id == row.id)).all()
    return set(classes) == {DEVICE_DEATH}


def earlier_times(session: Session, job: Job) -> dict[str, list[float | None]]:
    """Mean seconds (None: failed) of what was measured before this job for its workloads, oldest first.

    Empty for a cold job, and while its target is not known.
    """
    if job.cold or not job.target_family:
        return {}
    ids = select(JobWorkload.workload_id).where(JobWorkload.job_id == job.id)
    query = (
        select(Record.workload_id, Record.mean_sec)
        .where(col(Record.workload_id).in_(ids), Record.target_family == job.target_family)
        .where(col(Record.job_id).is_(None) | (col(Record.job_id) != job.id))
        .order_by(col(Record.id))
    )
    times: dict[str, list[float | None]] = {}
    for workload_id, mean_sec in session.exec(query):
        times.setdefault(workload_id, []).append(mean_sec)
    return times


def runs_stage(job: Job, stage: str) -> bool:
    """Is the job in the state that runs this stage?"""
    return STAGES.get(cast(JobState, job.state)) == stage


def _used(job: Job) -> float:
    return budget_used(job.trials, job.budget_trials, job.tuning_sec, job.budget_sec)
