"""Files that nobody has needed for long: operators that were sent, and copies of the database from before upgrades."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from pathlib import Path

from sqlmodel import Session, col, select

from tuner.db.models import Job, Model

_OPERATOR = re.compile(r".+-[0-9a-f]{12}\.operator\.json")  # as ``importers.operators.files`` names them
_BACKUP = re.compile(r".+-backup-\d{8}-\d{6}\..+")  # as ``db.backup`` does
_ROWS = 500


def old_operators(folder: Path, before_sec: float) -> list[Path]:
    """Those that nobody has sent since then, in seconds as ``time.time`` gives them."""
    return [
        path for path in sorted(folder.glob("*.json")) if _OPERATOR.fullmatch(path.name) and is_old(path, before_sec)
    ]


def old_backups(database: Path | None, before_sec: float) -> list[Path]:
    """Copies of the database file that were made before then; the newest copy is never one of them."""
    if database is None:
        return []
    found = database.parent.glob(f"{database.stem}-backup-*{database.suffix}")
    copies = sorted(path for path in found if _BACKUP.fullmatch(path.name))
    return [path for path in copies[:-1] if is_old(path, before_sec)]


def is_old(path: Path, before_sec: float) -> bool:
    """Does a file lie there that was last written before then?"""
    try:
        return not path.is_symlink() and path.is_file() and path.stat().st_mtime < before_sec
    except FileNotFoundError:
        return False


def needed(session: Session, paths: Collection[Path], before: datetime) -> set[Path]:
    """Those of the operators that a job is of which has not ended, or not before then."""
    names = sorted(str(path) for path in paths)
    found: set[Path] = set()
    for start in range(0, len(names), _ROWS):
        query = (
            select(Model.name)
            .join(Job, col(Job.model_id) == col(Model.id))
            .where(col(Model.name).in_(names[start : start + _ROWS]))
            .where(col(Job.finished_at).is_(None) | (col(Job.finished_at) >= before))
        )
        found |= {Path(name) for name in session.exec(query)}
    return found
