"""A finished module into the artifacts. What is published never changes: neither its file nor what is said of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
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
from tuner.db.engine import read, write
from tuner.db.models import Artifact, Evidence, Job


@dataclass(frozen=True)
class Packed:
    """A tar that is not in its place yet, and the row to keep of it."""

    tar: Path
    place: Path
    row: Artifact


@contextmanager
def packed(settings: Settings, job_id: str, folder: Path, manifest: dict[str, Any]) -> Iterator[Packed]:
    """The tar of a sealed folder, for ``publish``; it is thrown away if nobody publishes it.

    Its name has its checksum: no file ever takes another's place, whoever publishes the same content meanwhile.
    """
    with draft(settings.artifacts_dir) as scratch:
        tar = scratch / "artifact.tar"
        artifacts_on_disk.pack(folder, tar)
        sha256 = artifacts_on_disk.sha256_of(tar)
        row = Artifact(
            id=manifest["id"],
            job_id=job_id,
            path=f"{manifest['id']}-{sha256[:12]}.tar",
            size_bytes=tar.stat().st_size,
            sha256=sha256,
            manifest=manifest,
        )
        yield Packed(tar, settings.artifacts_dir / row.path, row)


def publish(
    engine: Engine, job_id: str, made: Packed, also: Callable[[Session, Job, Artifact], None] | None = None
) -> None:
    """Give a job its artifact: the one that was published of the same content, or this one; and keep what this job has
    found out of it. ``also`` writes what belongs to it in the same transaction.

    The file is on the disk before the row says so; one whose row never came is swept.
    """
    lost_path = _path_without_file(engine, made)
    os.replace(made.tar, made.place)
    _sync(made.place)
    with write(engine) as session:
        job = jobs.get(session, job_id)
        stored = _stored(session, made, lost_path)
        is_used = stored.path == made.row.path
        session.merge(Evidence(job_id=job.id, manifest=made.row.manifest))
        job.artifact_id = stored.id
        events.emit(session, "artifact", {"artifact_id": stored.id, "size_bytes": stored.size_bytes}, job.id)
        if also:
            also(session, job, stored)
    if not is_used:
        made.place.unlink(missing_ok=True)


def publish_unmeasured(settings: Settings, engine: Engine, job_id: str, folder: Path, manifest: dict[str, Any]) -> None:
    """Publish a module that no device has timed."""
    with packed(settings, job_id, folder, seal(folder, manifest)) as made:
        publish(engine, job_id, made)


def _path_without_file(engine: Engine, made: Packed) -> str:
    """The path that the row of the same content names, if nothing lies there any more."""
    with read(engine) as session:
        known = session.get(Artifact, made.row.id)
    return known.path if known is not None and not (made.place.parent / known.path).is_file() else ""


def _stored(session: Session, made: Packed, lost_path: str) -> Artifact:
    """The row of this content; one whose file is lost, or was removed, gets the new file."""
    known = artifacts.put(session, made.row)
    if known.path == lost_path or known.evicted_at is not None:
        for name in ("path", "size_bytes", "sha256", "manifest", "evicted_at"):
            setattr(known, name, getattr(made.row, name))
        session.add(known)
    return known


def _sync(file: Path) -> None:
    """On the disk, and in its folder."""
    for path in (file, file.parent):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
