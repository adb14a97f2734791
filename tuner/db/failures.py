"""A job's candidates that failed: how many of which kind, and the last of each."""

from __future__ import annotations

from sqlalchemy import func
from sqlalchemy.orm import defer
from sqlmodel import Session, col, select

from tuner.db.models import Record

_WITHOUT_TRACE = defer(Record.trace, raiseload=True)  # type: ignore[arg-type]


def counts(session: Session, job_id: str) -> list[tuple[str, str, int]]:
    """Error class, workload and how many, of all that failed for the job, those first of which there are most."""
    number = func.count()
    query = select(Record.error_class, Record.workload_id, number).where(*_failed(job_id))
    grouped = query.group_by(col(Record.error_class), col(Record.workload_id))
    found = session.exec(grouped.order_by(number.desc(), col(Record.error_class), col(Record.workload_id)))
    return [(error_class, workload_id, int(many)) for error_class, workload_id, many in found]


def latest(session: Session, job_id: str, error_class: str, k: int) -> list[Record]:
    """The last ``k`` of a class, the newest first, without their traces."""
    query = select(Record).where(*_failed(job_id), Record.error_class == error_class)
    return list(session.exec(query.order_by(col(Record.id).desc()).limit(k).options(_WITHOUT_TRACE)))


def candidate(session: Session, job_id: str, name: str) -> Record | None:
    """The job's last attempt at a candidate, failed or not."""
    query = select(Record).where(Record.job_id == job_id, Record.candidate == name)
    return session.exec(query.order_by(col(Record.id).desc()).limit(1)).first()


def _failed(job_id: str) -> tuple[bool, ...]:
    return (Record.job_id == job_id, col(Record.mean_sec).is_(None), Record.error_class != "")  # type: ignore[return-value]
