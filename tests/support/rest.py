"""The app in this process, and clients that talk to it as its owner's programs do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi.testclient import TestClient

from api.app import create_app
from tuner.config import Settings
from tuner.tokens import own_token


def owners_headers(settings: Settings) -> dict[str, str]:
    """What programs of the service's own user send."""
    return {"Authorization": f"Bearer {own_token(settings.token_file)}"}


@contextmanager
def talking_to(settings: Settings) -> Iterator[TestClient]:
    """A client that shows the data directory's own token; a bug is answered, not raised."""
    app = create_app(settings)
    headers = owners_headers(settings) if settings.auth == "token" else {}
    with TestClient(app, base_url="http://localhost", headers=headers, raise_server_exceptions=False) as client:
        yield client
