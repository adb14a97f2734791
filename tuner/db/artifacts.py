"""Artifacts: compiled modules, named by their content."""

from __future__ import annotations

from sqlalchemy import ColumnElement
from sqlmodel import Session, col, select

from tuner.db.models import Artifact, Job
from tuner.db.paging import FIRST, Found, Part, Window, page
from tuner.errors import NotFound


def get(session: Session, artifact_id: str) -> Artifact:
    """The artifact. Raises NotFound naming it."""
    artifact = session.get(Artifact, artifact_id)
    if artifact is None:
        raise NotFound(
            f"There is no artifact {artifact_id}.",
            "`tunesmith jobs` shows which jobs succeeded; each names its artifact.",
        )
    return artifact


def find(session: Session, job_id: str | None = None, window: Window = FIRST) -> Found[Artifact]:
    """Artifacts, newest first; ``job_id`` finds those the job made or was given."""
    query = select(Artifact)
    if job_id is not None:
        query = query.where(_is_of(session, job_id))
    return page(session, [Part(query, (col(Artifact.created_at), col(Artifact.id)), descending=True)], window)


def put(session: Session, artifact: Artifact) -> Artifact:
    """Add the artifact; when the same content is known already, that row is returned."""
    known = session.get(Artifact, artifact.id)
    if known is not None:
        return known
    session.add(artifact)
    session.flush()
    return artifact


def orphans_of(session: Session, job_id: str) -> list[Artifact]:
    """Artifacts only this job has: it made them or was given them, and no other job did or was."""
    made_by_other = select(Job.id).where(Job.id == Artifact.job_id, Job.id != job_id)
    given_to_other = select(Job.id).where(Job.artifact_id == Artifact.id, Job.id != job_id)
    query = select(Artifact).where(_is_of(session, job_id), ~made_by_other.exists(), ~given_to_other.exists())
    return list(session.exec(query))


def _is_of(session: Session, job_id: str) -> ColumnElement[bool]:
    """Did the job make it first, or was it given it?"""
    given = session.exec(select(Job.artifact_id).where(Job.id == job_id)).first()
    made = col(Artifact.job_id) == job_id
    return made if given is None else made | (col(Artifact.id) == given)
