"""Artifacts that nobody needs, files that may be no artifact's, and artifacts whose file is gone."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlmodel import Session, col, select

from tuner.db.models import Artifact, Job

STRAY_AFTER_SEC = 3600.0  # a file comes some moments before its row
_NAME = re.compile(r"(art-[0-9a-f]{20})(-[0-9a-f]{12})?\.tar")
_ROWS = 500


@dataclass(frozen=True)
class Holder:
    """A job that has an artifact: what it is of, and when the job ended (None: it is about to)."""

    artifact_id: str
    of: tuple[str | int | bool, ...]  # model, shape, target
    ended_at: datetime | None


def replaced(holders: Iterable[Holder], before: datetime) -> set[str]:
    """Pure: artifacts whose jobs all ended before then, and each of which a newer artifact of the same model, shape and
    target has replaced."""
    holders = list(holders)
    newest: dict[tuple[str | int | bool, ...], Holder] = {}
    for one in holders:
        if one.of not in newest or _is_later(one, newest[one.of]):
            newest[one.of] = one
    needed = {one.artifact_id for one in newest.values()}
    needed |= {one.artifact_id for one in holders if one.ended_at is None or one.ended_at >= before}
    return {one.artifact_id for one in holders} - needed


def _is_later(one: Holder, other: Holder) -> bool:
    return other.ended_at is not None and (one.ended_at is None or one.ended_at > other.ended_at)


def to_evict(session: Session, before: datetime) -> list[Artifact]:
    """Artifacts that were replaced, their jobs over since then, and that have not lost their file yet."""
    query = select(
        Job.artifact_id, Job.model_id, Job.batch, Job.seq_len, Job.target, Job.compile_only, Job.finished_at
    ).where(col(Job.artifact_id).is_not(None))  # type: ignore[call-overload]
    holders = [Holder(artifact_id, tuple(of), ended_at) for artifact_id, *of, ended_at in session.exec(query)]
    found = [row for row in _by_id(session, replaced(holders, before)) if row.evicted_at is None]
    return sorted(found, key=lambda row: row.created_at)


def is_needed(session: Session, artifact_id: str) -> bool:
    """Has a job that has not ended been given the artifact?"""
    query = select(Job.id).where(Job.artifact_id == artifact_id, col(Job.finished_at).is_(None))
    return session.exec(query).first() is not None


def files(folder: Path) -> set[str]:
    """Names of what lies there as an artifact's file."""
    return {path.name for path in folder.glob("art-*.tar")}


def old_files(folder: Path, now: float) -> list[tuple[Path, str]]:
    """Files of our names that are no new ones, each with the id of its artifact; ``now`` as ``time.time`` gives it."""
    old = []
    for path in sorted(folder.glob("art-*.tar")):
        name = _NAME.fullmatch(path.name)
        if name and path.is_file() and not path.is_symlink() and now - path.stat().st_mtime > STRAY_AFTER_SEC:
            old.append((path, name[1]))
    return old


def known_files(session: Session, ids: Collection[str]) -> set[str]:
    """Names of the files that artifacts of these ids have."""
    return {row.path for row in _by_id(session, ids)}


def without_file(session: Session, there: Collection[str]) -> list[str]:
    """Artifacts, the oldest first, whose file should be among these and is not."""
    query = select(Artifact.id, Artifact.path).where(col(Artifact.evicted_at).is_(None))
    rows = session.exec(query.order_by(col(Artifact.created_at)))
    return [artifact_id for artifact_id, path in rows if path not in there]


def _by_id(session: Session, ids: Collection[str]) -> list[Artifact]:
    wanted = sorted(ids)
    found: list[Artifact] = []
    for start in range(0, len(wanted), _ROWS):
        found += session.exec(select(Artifact).where(col(Artifact.id).in_(wanted[start : start + _ROWS])))
    return found
