"""What tests of all kinds share: settings over a folder of their own, and a database in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.support import databases
from tuner.config import Settings
from tuner.db.engine import make_engine


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose data directory is empty and belongs to this test."""
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    """A database with all tables and no rows."""
    databases.create(settings)
    engine = make_engine(settings)
    yield engine
    engine.dispose()
