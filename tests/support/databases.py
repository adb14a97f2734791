"""Data directories whose database has all tables and no rows: migrated once a process, then copied, or Postgres'."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from rpc.drafts import draft
from tuner.config import Settings
from tuner.db.engine import make_engine
from tuner.db.identity import id_if_known
from tuner.db.migrate import upgrade
from tuner.ownership import bind, claim


def create(settings: Settings) -> None:
    """As ``upgrade`` of an empty data directory, in a hundredth of its time; one that is no file in it has its tables
    already."""
    if settings.database_url is not None:
        claim(settings)
        engine = make_engine(settings)
        bind(settings, id_if_known(engine))
        engine.dispose()
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
