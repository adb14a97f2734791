"""A copy of a SQLite file, whole or not there at all."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

from tuner.errors import StorageFull

_TIMES = 3  # the file's size: its copy, the copy of a table within it, and the journal of both


def check_space(path: Path) -> None:
    """Raises StorageFull when the disk would be full before a copy was made and the file's tables changed."""
    wal = path.with_name(f"{path.name}-wal")
    size = path.stat().st_size + (wal.stat().st_size if wal.exists() else 0)
    free = shutil.disk_usage(path.parent).free
    if free < _TIMES * size:
        raise StorageFull(
            f"{free / 2**20:,.0f} MiB are free where {path} is; its upgrade may take {_TIMES * size / 2**20:,.0f} MiB.",
            "Free some space there, then try again; nothing was changed.",
        )


def back_up(path: Path) -> Path:
    """Copy the database beside itself, named by the time; what a kill or a full disk leaves is not called so."""
    target = path.with_name(f"{path.stem}-backup-{datetime.now():%Y%m%d-%H%M%S}{path.suffix}")
    draft = path.with_name(f"{path.stem}-backup{path.suffix}.part")
    draft.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(draft)) as copy:
            source.backup(copy)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return target
