"""The whole service as a user starts it, in real processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from rpc.lifeline import python_module
from tests.support.processes import free_port, patience, running
from tests.support.rest import owners_headers
from tests.support.rpc_device import free
from tuner.config import Settings

COMMAND = [sys.executable, "-m", "tuner.cli.main"]

# Whoever kills something waits for whole rounds before and after.
SMALL_ROUNDS = {"TUNER_ROUND_BATCH": "8", "TUNER_BUILD_WORKERS": "1"}
# For a test of neither threads nor kernels: threads that wait for each other would spin on the cores of other tests.
ONE_THREAD = {"TUNER_DEVICE_THREADS": "1"}


@dataclass
class Service:
    """A service that is up."""

    process: subprocess.Popen[str]
    data_dir: Path
    output: str

    def state(self) -> dict[str, object]:
        return json.loads((self.data_dir / "run" / "service.json").read_text())

    def pid(self, name: str) -> int:
        pids = self.state()["pids"]
        assert isinstance(pids, dict)
        return int(pids.get(name, 0))

    @property
    def url(self) -> str:
        return str(self.state()["url"])

    @property
    def headers(self) -> dict[str, str]:
        """What the owner's programs send."""
        return owners_headers(Settings(data_dir=self.data_dir))

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request, as the owner's programs send it."""
        return httpx.request(
            method, self.url + path, headers=self.headers, timeout=patience(30), verify=False, **options
        )

    @property
    def tracker_port(self) -> int:
        return int(str(self.state()["tracker"]).rpartition(":")[2])

    def is_well(self) -> bool:
        try:
            answer = httpx.get(f"{self.url}/healthz", timeout=patience(1), verify=False)
            return answer.is_success and free(self.tracker_port) == 1
        except httpx.HTTPError:
            return False


@contextmanager
def serving(data_dir: Path, *options: str, **env: str) -> Iterator[Service]:
    """Start the service, with these settings, and wait until it says that it is ready."""
    argv = python_module("tuner.cli.main", "serve", "--data-dir", str(data_dir), *options)
    with running(argv, TUNER_TRACKER_PORT=str(free_port()), **env) as process:
        assert process.stdout is not None
        output = ""
        for line in process.stdout:
            output += line
            if "Press Ctrl-C" in line:
                break
        assert "TuneSmith is ready." in output, output
        yield Service(process, data_dir, output)
