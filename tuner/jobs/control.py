"""What a user may ask of a job: the wish is noted here, the coordinator grants it between two rounds."""

from __future__ import annotations

from sqlalchemy import Engine
from sqlmodel import Session

from tuner.config import Settings
from tuner.db import artifacts, bulk, device_checks, events, jobs
from tuner.db.engine import read, write
from tuner.db.models import Job
from tuner.errors import Conflict
from tuner.state import TERMINAL, TUNING_AHEAD


def cancel(session: Session, job_id: str) -> Job:
    """Ask for the job to end. Raises NotFound, or Conflict when it has ended already."""
    job = _unfinished(session, job_id, "cancelled")
    return _wish(session, job, "cancel", "cancelling")


def pause(session: Session, job_id: str) -> Job:
    """Ask for no further rounds. Raises NotFound, or Conflict when tuning is over or the job is paused already."""
    job = _unfinished(session, job_id, "paused")
    if job.compile_only:
        raise Conflict(f"Job {job.id} only compiles and can't be paused.", "Only tuning can be paused.")
    if job.state == "paused" and job.wish != "cancel":
        raise Conflict(f"Job {job.id} is paused already.", f"Go on with `tunesmith resume {job.id}`.")
    if job.state not in TUNING_AHEAD or job.wish == "cancel":
        raise Conflict(f"Job {job.id} is {_doing(job)} and can't be paused.", "Only tuning can be paused.")
    return _wish(session, job, "pause", "pausing")


def resume(session: Session, job_id: str) -> Job:
    """Ask for a paused job to go on. Raises NotFound, or Conflict when it is not paused."""
    job = _unfinished(session, job_id, "resumed")
    if job.wish == "pause":  # not paused yet: the wish is taken back
        return _wish(session, job, "", "going on")
    if job.state != "paused" or job.wish == "cancel":
        raise Conflict(f"Job {job.id} is {_doing(job)}, not paused.", f"See `tunesmith show {job.id}`.")
    return _wish(session, job, "resume", "resuming")


def delete(engine: Engine, settings: Settings, job_id: str) -> None:
    """Delete a finished job, its events, rounds and benchmarks, and artifacts nobody else refers to; records stay.

    Raises NotFound, or Conflict when the job is not finished.
    """
    with read(engine) as session:
        job = jobs.get(session, job_id)
    if job.state not in TERMINAL:
        raise Conflict(
            f"Job {job_id} is {_doing(job)}; only a finished job can be deleted.",
            f"Cancel it first: `tunesmith cancel {job_id}`.",
        )
    bulk.leave_job(engine, job_id)
    with write(engine) as session:
        job = jobs.get(session, job_id)
        orphans = artifacts.orphans_of(session, job_id)
        files = [settings.artifacts_dir / artifact.path for artifact in orphans]
        for artifact in orphans:
            device_checks.forget(session, artifact.id)
            session.delete(artifact)
        jobs.delete(session, job)
        events.emit(session, "deleted", {"job_id": job_id})
    for file in files:  # nobody else's: who publishes the same content again has a file of another name
        file.unlink(missing_ok=True)


def _unfinished(session: Session, job_id: str, wanted: str) -> Job:
    job = jobs.get(session, job_id)
    if job.state in TERMINAL:
        ended = "been cancelled" if job.state == "cancelled" else job.state
        raise Conflict(
            f"Job {job_id} has {ended} already" + ("." if wanted == job.state else f"; it can't be {wanted}."),
            "Submit it again with `tunesmith tune`; it starts from the records that are known.",
        )
    return job


def _wish(session: Session, job: Job, wish: str, message: str) -> Job:
    job.wish, job.message = wish, message
    session.add(job)
    events.emit(session, "message", {"message": message, "wish": wish}, job.id)
    return job


def _doing(job: Job) -> str:
    return "being cancelled" if job.wish == "cancel" else job.state
