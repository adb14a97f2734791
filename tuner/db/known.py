"""What is known of a workload before it is searched any further: the candidates that were tried, and whose they are."""

from __future__ import annotations

from sqlalchemy import and_, func, not_, or_
from sqlmodel import Session, col, select

from tuner.db import clock, records
from tuner.db.models import Job, JobWorkload, Record
from tuner.db.models.records import IMPORTED


def candidates(session: Session, workload_id: str, family: str, job_id: str | None = None, after: int = 0) -> set[str]:
    """Candidates (structural hashes) of this workload that are not to be tried on this family now, failed ones too;
    seeds are, and so are, another day and a few times, those whose failure may have been the machine's.

    With ``job_id`` only those that this job tried, and those that are poison; ``after`` a record's id only newer ones.
    """
    retry = and_(
        col(Record.error_class).in_(records.TROUBLE),
        col(Record.attempt) < records.MAX_ATTEMPTS,
        col(Record.created_at) < clock.now(session) - records.RETRY_AFTER,
    )
    counting = and_(records.counts(), not_(retry))
    if job_id is not None:
        counting = or_(col(Record.job_id) == job_id, and_(counting, col(Record.error_class).in_(records.POISON)))
    query = select(Record.candidate).where(Record.workload_id == workload_id, Record.target_family == family)
    if after:
        query = query.where(col(Record.id) > after)
    return set(session.exec(query.where(records.tried(), counting)).all())


def holds_imported(session: Session, job: Job) -> bool:
    """Does a job have usable records from others' logs for its workloads?"""
    workloads = session.exec(select(JobWorkload.workload_id).where(JobWorkload.job_id == job.id)).all()
    # By no other condition, or the database would look through all that was measured.
    of_others = col(Record.workload_id).in_(workloads), Record.target_family == job.target_family, IMPORTED
    found = session.exec(select(Record.superseded, Record.error_class).where(*of_others))
    return any(not superseded and not error_class for superseded, error_class in found)


def last_id(session: Session) -> int:
    """Id of the newest record, 0 when there is none."""
    return session.exec(select(func.max(Record.id))).one() or 0
