"""Data directories whose database has all tables and no rows: migrated once a process, then copied."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path

from tuner.config import Settings
from tuner.db.migrate import upgrade


def create(settings: Settings) -> None:
    """As ``upgrade`` of an empty data directory, in a hundredth of its time where the database is a file in it."""
    if settings.database_url is not None:
        upgrade(settings)
    else:
        shutil.copytree(Path(_migrated().name), settings.root, dirs_exist_ok=True)


@cache
def _migrated() -> tempfile.TemporaryDirectory[str]:
    """The data directory that others are copies of."""
    folder = tempfile.TemporaryDirectory(prefix="tunesmith-migrated-")
    upgrade(Settings(data_dir=Path(folder.name), database_url=None))
    return folder
