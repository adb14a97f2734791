"""The web process as it really runs: in a process of its own, on a free port."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support import databases
from tests.support.processes import free_port, patience
from tests.support.rest import owners_headers
from tuner.config import Settings


@dataclass(frozen=True)
class WebProcess:
    """A running web process; ``url`` is where it listens."""

    process: subprocess.Popen[bytes]
    url: str
    settings: Settings

    @property
    def headers(self) -> dict[str, str]:
        """What programs of the service's own user send."""
        return owners_headers(self.settings)

    def post(self, path: str, timeout_sec: float = 10.0, **options: Any) -> httpx.Response:
        """Asked as they ask; on a quick machine answered within ``timeout_sec``."""
        return httpx.post(self.url + path, headers=self.headers, timeout=patience(timeout_sec), **options)

    def events(
        self, params: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> AbstractContextManager[httpx.Response]:
        """The event stream, as they open it."""
        return httpx.stream(
            "GET", f"{self.url}/v1/events", params=params, headers=self.headers | (headers or {}), timeout=patience(20)
        )

    def wait_until_up(self) -> None:
        """Return once it answers; fails when the process ends instead."""
        with httpx.Client(transport=httpx.HTTPTransport(retries=5), timeout=patience(30)) as client:
            while self.process.poll() is None:
                try:
                    client.get(f"{self.url}/healthz").raise_for_status()
                    return
                except httpx.TransportError:
                    continue
        raise AssertionError(f"the web process ended with {self.process.returncode}")


@contextmanager
def serve_folder(data_dir: Path) -> Iterator[WebProcess]:
    """The web process over a data directory whose database has all tables and no rows."""
    settings = Settings(data_dir=data_dir)
    databases.create(settings)
    with serve_process(settings) as web:
        yield web


@contextmanager
def serve_process(settings: Settings) -> Iterator[WebProcess]:
    """The web process over the data directory of ``settings``; killed at the end if it still runs."""
    port = free_port()
    given = settings.model_copy(update={"port": port, "log_level": "WARNING"})
    process = subprocess.Popen([sys.executable, "-m", "api.web_process"], env={**os.environ, **given.as_env()})
    try:
        web = WebProcess(process, f"http://127.0.0.1:{port}", settings)
        web.wait_until_up()
        yield web
    finally:
        process.kill()
        process.wait()
