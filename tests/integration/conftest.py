"""The app in this process, over the database of the ``engine`` fixture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from api.app import create_app
from tuner.config import Settings


@pytest.fixture
def client(engine: Engine, settings: Settings) -> Iterator[TestClient]:
    """Talks to the app; its database is ``engine``'s. A bug is answered, not raised."""
    app = create_app(settings.model_copy(update={"min_free_bytes": 0}))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[TestClient]:
    """Talks to a second app, whose database is empty."""
    app = create_app(Settings(data_dir=tmp_path / "empty"))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client
