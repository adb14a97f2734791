"""The web process as it really runs: uvicorn in a process of its own, on a free port."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from tuner.config import Settings

START_SEC = 30.0


@dataclass(frozen=True)
class WebProcess:
    """A running web process; ``url`` is where it listens."""

    process: subprocess.Popen[bytes]
    url: str

    def wait_until_up(self) -> None:
        """Return once it answers; fails when the process ends instead."""
        with httpx.Client(transport=httpx.HTTPTransport(retries=5), timeout=START_SEC) as client:
            while self.process.poll() is None:
                try:
                    client.get(f"{self.url}/healthz").raise_for_status()
                    return
                except httpx.TransportError:
                    continue
        raise AssertionError(f"the web process ended with {self.process.returncode}")


@contextmanager
def serve_process(settings: Settings) -> Iterator[WebProcess]:
    """The web process over the data directory of ``settings``; killed at the end if it still runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "api.app:create_app", "--factory", "--port", str(port)]
    environment = {**os.environ, "TUNER_DATA_DIR": str(settings.root)}
    process = subprocess.Popen([*command, "--log-level", "warning"], env=environment)
    try:
        web = WebProcess(process, f"http://127.0.0.1:{port}")
        web.wait_until_up()
        yield web
    finally:
        process.kill()
        process.wait()
