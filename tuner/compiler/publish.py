"""From a staged module to an artifact that can be had: sealed, packed, known to the database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session

from tuner.compiler import artifact as artifacts_on_disk
from tuner.compiler.module import seal
from tuner.config import Settings
from tuner.db import artifacts, events, jobs
from tuner.db.engine import read, write
from tuner.db.models import Artifact, Job


def pack(settings: Settings, job_id: str, folder: Path, manifest: dict[str, Any]) -> Artifact:
    """Write the tar of a sealed folder; returns the row to keep."""
    tar = settings.artifacts_dir / f"{manifest['id']}.tar"
    artifacts_on_disk.pack(folder, tar)
    return Artifact(
        id=manifest["id"],
        job_id=job_id,
        path=tar.name,
        size_bytes=tar.stat().st_size,
        sha256=artifacts_on_disk.sha256_of(tar),
        manifest=manifest,
    )


def keep(session: Session, job: Job, made: Artifact) -> Artifact:
    """Make a packed artifact the job's, in place of what was known of the same content. Call within ``write``."""
    stored = artifacts.put(session, made)
    stored.size_bytes, stored.sha256, stored.manifest = made.size_bytes, made.sha256, made.manifest
    job.artifact_id = stored.id
    events.emit(session, "artifact", {"artifact_id": stored.id, "size_bytes": stored.size_bytes}, job.id)
    return stored


def publish_unmeasured(settings: Settings, engine: Engine, job_id: str, folder: Path, manifest: dict[str, Any]) -> None:
    """Publish a module that no device has timed; the same content, if a job has made it before, stays as it is."""
    sealed = seal(folder, manifest)
    with read(engine) as session:
        known = session.get(Artifact, sealed["id"])
    there = known is not None and (settings.artifacts_dir / known.path).is_file()
    made = known if known is not None and there else pack(settings, job_id, folder, sealed)
    with write(engine) as session:
        keep(session, jobs.get(session, job_id), made)
