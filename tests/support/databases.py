"""Data directories whose database has all tables and no rows: migrated once a process, then copied."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from rpc.drafts import draft
from tuner.config import Settings
from tuner.db.migrate import upgrade


def create(settings: Settings) -> None:
    """As ``upgrade`` of an empty data directory, in a hundredth of its time where the database is a file in it."""
    if settings.database_url is not None:
        upgrade(settings)
    else:
        shutil.copytree(_migrated(), settings.root, dirs_exist_ok=True)


@cache
def _migrated() -> Path:
    """The data directory that others are copies of; what killed tests left of theirs goes first."""
    for_life = ExitStack()
    folder = for_life.enter_context(draft(Path(tempfile.gettempdir()), "tunesmith-migrated-"))
    atexit.register(for_life.close)
    upgrade(Settings(data_dir=folder / "data", database_url=None))
    return folder / "data"
