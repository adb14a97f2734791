"""Submissions that may come twice: the key that a client gave to one, and the job it became."""

from __future__ import annotations

from sqlmodel import Session

from tuner.db import jobs
from tuner.db.models import Job, Submission
from tuner.errors import Conflict


def known(session: Session, caller: str, key: str, digest: str) -> Job | None:
    """The job of this caller's key, if there is one. Raises Conflict when the key was for another wish."""
    found = session.get(Submission, (caller, key))
    if found is None:
        return None
    if found.digest != digest:
        raise Conflict(
            f"The Idempotency-Key {key!r} was for another wish, which became {found.job_id}.",
            "Give each submission a key of its own; the same one only to send the same again.",
        )
    return jobs.get(session, found.job_id)


def note(session: Session, caller: str, key: str, digest: str, job: Job) -> None:
    """Keep what a submission became, as long as there is the job. Call within ``write``."""
    session.add(Submission(caller=caller, key=key, digest=digest, job_id=job.id))
