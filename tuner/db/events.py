"""The event log: what happened, in order of id."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import func
from sqlmodel import Session, col, select

from tuner.db.models import Event
from tuner.db.sampling import evenly

CURVE_POINTS = 500  # as many as a chart can show


def emit(session: Session, kind: str, data: dict[str, Any], job_id: str | None = None) -> Event:
    """Append an event; it is seen by others once the transaction commits."""
    event = Event(kind=kind, data=data, job_id=job_id)
    session.add(event)
    return event


def since(
    session: Session, last_id: int, job_id: str | None = None, limit: int = 500, kind: str | None = None
) -> list[Event]:
    """Events after ``last_id``, oldest first; of one job or one kind if given."""
    query = select(Event).where(col(Event.id) > last_id).order_by(col(Event.id)).limit(limit)
    if job_id is not None:
        query = query.where(Event.job_id == job_id)
    if kind is not None:
        query = query.where(Event.kind == kind)
    return list(session.exec(query))


def last_id(session: Session) -> int:
    """Id of the newest event, 0 when there is none."""
    return session.exec(select(func.max(Event.id))).one() or 0


def last_rounds(session: Session, job_ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """What the newest finished round of each job told, for those that have one."""
    if not job_ids:
        return {}
    newest = select(func.max(Event.id)).where(Event.kind == "round", col(Event.job_id).in_(job_ids))
    query = select(Event).where(col(Event.id).in_(newest.group_by(col(Event.job_id))))
    return {str(event.job_id): event.data for event in session.exec(query)}


def curve(session: Session, job_id: str) -> list[dict[str, Any]]:
    """Predicted latency over tuning time: ``{t_sec, trials, predicted_ms}`` per finished round, oldest first; of more
    than ``CURVE_POINTS`` rounds as many at even distances."""
    of_rounds = select(Event.id).where(Event.job_id == job_id, Event.kind == "round").order_by(col(Event.id))
    chosen = evenly(session.connection().execute(of_rounds).scalars().all(), CURVE_POINTS)
    query = select(Event.data).where(col(Event.id).in_(chosen)).order_by(col(Event.id))
    return [{key: data.get(key) for key in ("t_sec", "trials", "predicted_ms")} for data in session.exec(query)]
