"""Events that nobody looks for any more: of a job that ended long ago its states and some points of its curve stay."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, delete, false
from sqlmodel import Session, col, select

from tuner.db.models import Event, Job
from tuner.db.sampling import evenly

CURVE_POINTS = 200  # as many as a picture of a curve shows
_ROWS = 500  # in one statement
_MOST_JOBLESS = 5_000  # in one transaction


def to_thin(session: Session, ended_before: datetime, most: int) -> list[str]:
    """Jobs whose events are due, those that ended first first."""
    ended = col(Job.finished_at)
    query = select(Job.id).where(col(Job.thinned) == false(), ended < ended_before).order_by(ended).limit(most)
    return list(session.exec(query))


def thin(session: Session, job_id: str) -> int:
    """Let go of a job's messages and of most points of its curve; returns how many events went.

    Call within ``write``.
    """
    messages = session.connection().execute(delete(Event).where(*_of(job_id, "message"))).rowcount
    points = session.exec(select(Event.id).where(*_of(job_id, "round")).order_by(col(Event.id))).all()
    gone = list(set(points) - set(evenly(points, CURVE_POINTS)))
    for start in range(0, len(gone), _ROWS):
        session.connection().execute(delete(Event).where(col(Event.id).in_(gone[start : start + _ROWS])))
    job = session.get_one(Job, job_id)
    job.thinned = True
    session.add(job)
    return messages + len(gone)


def forget_jobless(session: Session, before: datetime) -> int:
    """Let go of events that are no job's (devices that came and went) and older than that; returns how many went,
    which may be a part. Call within ``write``."""
    query = select(Event.id, Event.created_at).where(col(Event.job_id).is_(None)).order_by(col(Event.id))
    gone = [number for number, stamp in session.exec(query.limit(_MOST_JOBLESS)) if stamp < before]
    for start in range(0, len(gone), _ROWS):
        session.connection().execute(delete(Event).where(col(Event.id).in_(gone[start : start + _ROWS])))
    return len(gone)


def _of(job_id: str, kind: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return col(Event.job_id) == job_id, col(Event.kind) == kind
