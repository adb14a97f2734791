"""The real web process' app, served from a thread on a port of its own, over a database of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvicorn
from sqlalchemy import Engine

from api.app import create_app
from tests.support import databases
from tests.support.processes import patience
from tests.support.rest import owners_headers
from tuner.config import Settings
from tuner.tokens import own_token


@dataclass(frozen=True)
class Web:
    """A served app: where it listens and the database it reads."""

    url: str
    engine: Engine
    settings: Settings

    @property
    def token(self) -> str:
        """The data directory's own."""
        return own_token(self.settings.token_file)

    @property
    def headers(self) -> dict[str, str]:
        """What the owner's programs send."""
        return owners_headers(self.settings)

    def get(self, path: str) -> httpx.Response:
        """Asked as they ask."""
        return httpx.get(self.url + path, headers=self.headers, timeout=patience(5))


@contextmanager
def serve(data_dir: Path) -> Iterator[Web]:
    """Serve the app until the block ends; open event streams are closed with it."""
    settings = Settings(data_dir=data_dir)
    databases.create(settings)
    app = create_app(settings)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield Web(f"http://127.0.0.1:{listener.getsockname()[1]}", app.state.engine, settings)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
