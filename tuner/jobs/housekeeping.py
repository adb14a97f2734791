"""What nobody needs any more goes, by the rules that the user set: events, artifacts, imports, uploads, operators,
copies of the database, and files without a row.

``survey`` says what would go, ``clean`` lets it go; both are asked by the coordinator from time to time, and by people.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Engine

from tuner.config import Settings
from tuner.db import clock, jobs, retention
from tuner.db.engine import read, sqlite_path, write
from tuner.db.models import Artifact
from tuner.importers import shelf
from tuner.jobs import old_artifacts, old_files, old_uploads
from tuner.jobs.going import Going

IN_USE_SEC = 3600.0  # since its last use an import is somebody's: a stage takes no longer
_MOST_JOBS = 200  # whose events go in one turn


@dataclass(frozen=True)
class Survey:
    """What goes, and the artifacts whose file is gone though nobody removed it."""

    going: list[Going]
    lost: list[str]


def survey(settings: Settings, engine: Engine) -> Survey:
    """Look, and leave everything as it is."""
    going = [
        *(_artifact(settings, row) for row in _artifacts(settings, engine)),
        *(_stray(path) for path in _strays(settings, engine)),
        *(_import(settings, one) for one in _imports(settings, engine)),
        *(_operator(settings, path) for path in _operators(settings, engine)),
        *(_backup(settings, path) for path in _backups(settings)),
        *old_uploads.to_go(settings, engine),
        *(_events(settings, job_id) for job_id in _jobs(settings, engine)),
    ]
    files = old_artifacts.files(settings.artifacts_dir)
    with read(engine) as session:
        lost = old_artifacts.without_file(session, files)
    return Survey(going, lost)


def clean(settings: Settings, engine: Engine) -> Iterator[Going]:
    """Let go of all that ``survey`` names, one after the other; who takes no more of them leaves the rest."""
    for row in _artifacts(settings, engine):
        if _evict(settings, engine, row):
            yield _artifact(settings, row)
    for path in _strays(settings, engine):
        gone = _stray(path)
        path.unlink(missing_ok=True)
        yield gone
    yield from make_room(settings, engine)
    yield from _remove_old(settings, engine)
    for upload in old_uploads.to_go(settings, engine):
        if old_uploads.remove(settings, engine, upload.name):
            yield upload
    for job_id in _jobs(settings, engine):
        with write(engine) as session:
            retention.thin(session, job_id)
        yield _events(settings, job_id)
    with write(engine) as session:
        retention.forget_jobless(session, clock.now(session) - timedelta(days=settings.keep_events_days))


def make_room(settings: Settings, engine: Engine) -> Iterator[Going]:
    """Let go of imports until the rest fits into its budget."""
    for one in _imports(settings, engine):
        if shelf.remove(settings.imports_dir, one):
            yield _import(settings, one)


def _remove_old(settings: Settings, engine: Engine) -> Iterator[Going]:
    """Let go of old files; one that was sent again meanwhile stays."""
    for path in _operators(settings, engine):
        gone = _operator(settings, path)
        if old_files.is_old(path, _before(settings.keep_operators_days)):
            path.unlink(missing_ok=True)
            yield gone
    for path in _backups(settings):
        gone = _backup(settings, path)
        path.unlink(missing_ok=True)
        yield gone


def _operators(settings: Settings, engine: Engine) -> list[Path]:
    if settings.keep_operators_days is None:
        return []
    found = old_files.old_operators(settings.operators_dir, _before(settings.keep_operators_days))
    with read(engine) as session:
        before = clock.now(session) - timedelta(days=settings.keep_operators_days)
        needed = old_files.needed(session, found, before)
    return [path for path in found if path not in needed]


def _backups(settings: Settings) -> list[Path]:
    if settings.keep_backups_days is None:
        return []
    return old_files.old_backups(sqlite_path(settings), _before(settings.keep_backups_days))


def _before(days: float | None) -> float:
    """So long ago, as ``time.time`` counts; without a rule nothing is that old."""
    return -math.inf if days is None else time.time() - timedelta(days=days).total_seconds()


def _artifacts(settings: Settings, engine: Engine) -> list[Artifact]:
    """Those that newer ones have replaced long enough ago, and whose file lies here."""
    if settings.keep_artifacts_days is None:
        return []
    with read(engine) as session:
        before = clock.now(session) - timedelta(days=settings.keep_artifacts_days)
        found = old_artifacts.to_evict(session, before)
    return [row for row in found if _is_old(settings.artifacts_dir / row.path)]


def _is_old(path: Path) -> bool:
    """Does it lie there, and not since just now? Then it is not being published again."""
    try:
        return time.time() - path.stat().st_mtime > old_artifacts.STRAY_AFTER_SEC
    except FileNotFoundError:
        return False


def _evict(settings: Settings, engine: Engine, row: Artifact) -> bool:
    """Note that an artifact's file goes, then remove it: the other way round it would seem lost; False when the row has
    another file by now, or a job that is about to end has been given it."""
    with write(engine) as session:
        known = session.get(Artifact, row.id)
        if known is None or known.path != row.path or old_artifacts.is_needed(session, row.id):
            return False
        known.evicted_at = clock.now(session)
        session.add(known)
    path = settings.artifacts_dir / row.path
    if _is_old(path):
        path.unlink(missing_ok=True)
    return True


def _strays(settings: Settings, engine: Engine) -> list[Path]:
    old = old_artifacts.old_files(settings.artifacts_dir, time.time())
    with read(engine) as session:
        known = old_artifacts.known_files(session, {artifact_id for _, artifact_id in old})
    return [path for path, _ in old if path.name not in known]


def _imports(settings: Settings, engine: Engine) -> list[shelf.Kept]:
    """Those over the budget: none that an unfinished job made or found, and none of the last hour."""
    with read(engine) as session:
        needed = {job.import_key for job in jobs.active(session)}
    found = shelf.kept(settings.imports_dir)
    return shelf.surplus(found, settings.cache_bytes, time.time() - IN_USE_SEC, needed)


def _jobs(settings: Settings, engine: Engine) -> list[str]:
    with read(engine) as session:
        before = clock.now(session) - timedelta(days=settings.keep_events_days)
        return retention.to_thin(session, before, _MOST_JOBS)


def _artifact(settings: Settings, row: Artifact) -> Going:
    why = f"replaced by newer ones for more than {settings.keep_artifacts_days:g} days (TUNER_KEEP_ARTIFACTS_DAYS)"
    return Going("artifact", row.id, row.size_bytes, why)


def _stray(path: Path) -> Going:
    return Going("stray file", path.name, path.stat().st_size, "no artifact's, for more than an hour")


def _import(settings: Settings, one: shelf.Kept) -> Going:
    why = f"used longest ago of more than {settings.cache_bytes / 1e9:.1f} GB (TUNER_CACHE_BYTES)"
    return Going("import", one.key, one.size_bytes, why)


def _operator(settings: Settings, path: Path) -> Going:
    why = f"no job was of it for more than {settings.keep_operators_days:g} days (TUNER_KEEP_OPERATORS_DAYS)"
    return Going("operator", path.name, path.stat().st_size, why)


def _backup(settings: Settings, path: Path) -> Going:
    why = f"made more than {settings.keep_backups_days:g} days ago, and not the newest (TUNER_KEEP_BACKUPS_DAYS)"
    return Going("backup", path.name, path.stat().st_size, why)


def _events(settings: Settings, job_id: str) -> Going:
    why = f"its job ended more than {settings.keep_events_days:g} days ago (TUNER_KEEP_EVENTS_DAYS)"
    return Going("events", job_id, 0, why)
