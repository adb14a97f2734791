"""What unfinished jobs keep on disk, a folder each. A folder of ours has our name and our mark; no other is removed."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from pathlib import Path

from sqlalchemy import Engine

from rpc import marks
from tuner.config import Settings
from tuner.db.engine import read
from tuner.db.identity import database_id

log = logging.getLogger(__name__)

_NAME = re.compile(r"job-[0-9a-f]{10}")
_MARK = ".of-database"


def make(settings: Settings, database: Engine, job_id: str) -> Path:
    """The job's folder, marked as this database's."""
    folder = settings.jobs_dir / job_id
    if not (folder / _MARK).is_file():
        with read(database) as session:
            _mark(folder, database_id(session))
    return folder


def sweep(settings: Settings, database: Engine, unfinished: Collection[str]) -> None:
    """Remove the folders of this database's jobs but for those that are ``unfinished``."""
    if not settings.jobs_dir.is_dir():
        return
    with read(database) as session:
        ours = database_id(session)
    for folder in settings.jobs_dir.iterdir():
        if not _NAME.fullmatch(folder.name) or folder.is_symlink() or not folder.is_dir():
            continue
        if folder.name in unfinished:
            if _database_of(folder) != ours:  # made by an earlier release
                _mark(folder, ours)
        elif _database_of(folder) == ours:
            marks.remove(folder, _MARK)
            if folder.exists():
                log.warning("%s can't be removed now; that is tried again when another job has ended", folder)


def _mark(folder: Path, of_database: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).write_text(of_database)


def _database_of(folder: Path) -> str | None:
    try:
        return (folder / _MARK).read_text()
    except OSError:
        return None
