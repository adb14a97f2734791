"""A finished module into the artifacts: its tar and its row together, or neither."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session

from rpc.drafts import draft
from tuner.artifact import format as artifacts_on_disk
from tuner.compiler.module import seal
from tuner.config import Settings
from tuner.db import artifacts, events, jobs
from tuner.db.engine import write
from tuner.db.models import Artifact, Job


@dataclass(frozen=True)
class Packed:
    """A tar that is not in its place yet, and the row to keep of it."""

    tar: Path
    place: Path
    row: Artifact


@contextmanager
def packed(settings: Settings, job_id: str, folder: Path, manifest: dict[str, Any]) -> Iterator[Packed]:
    """The tar of a sealed folder, for ``keep``; it is thrown away if nobody keeps it."""
    with draft(settings.artifacts_dir) as scratch:
        place = settings.artifacts_dir / f"{manifest['id']}.tar"
        tar = scratch / place.name
        artifacts_on_disk.pack(folder, tar)
        row = Artifact(
            id=manifest["id"],
            job_id=job_id,
            path=place.name,
            size_bytes=tar.stat().st_size,
            sha256=artifacts_on_disk.sha256_of(tar),
            manifest=manifest,
        )
        yield Packed(tar, place, row)


def keep(session: Session, job: Job, made: Packed) -> Artifact:
    """Make a packed artifact the job's, in place of what was known of the same content. Call within ``write``: only
    while nobody else writes does the tar stay that of its row, whoever deletes the last job that had it."""
    stored = artifacts.put(session, made.row)
    stored.size_bytes, stored.sha256, stored.manifest = made.row.size_bytes, made.row.sha256, made.row.manifest
    os.replace(made.tar, made.place)
    _give(session, job, stored)
    return stored


def publish_unmeasured(settings: Settings, engine: Engine, job_id: str, folder: Path, manifest: dict[str, Any]) -> None:
    """Publish a module that no device has timed; the same content, if a job has made it before, stays as it is."""
    with packed(settings, job_id, folder, seal(folder, manifest)) as made, write(engine) as session:
        job = jobs.get(session, job_id)
        known = session.get(Artifact, made.row.id)
        if known is not None and made.place.is_file():
            _give(session, job, known)
        else:
            keep(session, job, made)


def _give(session: Session, job: Job, stored: Artifact) -> None:
    job.artifact_id = stored.id
    events.emit(session, "artifact", {"artifact_id": stored.id, "size_bytes": stored.size_bytes}, job.id)
