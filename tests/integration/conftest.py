"""The app in this process, over the database of the ``engine`` fixture; a search that is soon done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from tests.support import databases
from tests.support.rest import talking_to
from tuner.config import Settings


@pytest.fixture
def client(engine: Engine, settings: Settings) -> Iterator[TestClient]:
    """Talks to the app; its database is ``engine``'s. A bug is answered, not raised."""
    with talking_to(settings.model_copy(update={"min_free_bytes": 0})) as client:
        yield client


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[TestClient]:
    """Talks to a second app, whose database is empty."""
    settings = Settings(data_dir=tmp_path / "empty")
    databases.create(settings)
    with talking_to(settings) as client:
        yield client


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evolution of a small population: enough for a test that looks at what is done with what it finds."""
    from tuner.search import evolution

    monkeypatch.setattr(evolution, "_POPULATION", 32)
    monkeypatch.setattr(evolution, "_MIN_UNMEASURED", 16)
