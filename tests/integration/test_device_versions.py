"""A device with another TVM, as the tracker tells of it, and what users then read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from rpc import registration
from rpc.registration import Registration
from rpc.versions import PINS
from tests.support.coordination import Bench
from tests.support.processes import free_port, patience
from tests.support.rpc_device import HOST, tracker_process
from tests.support.web import serve
from tuner.cli import main
from tuner.config import Settings
from tuner.jobs.device_watch import ask_tracker

KEY = "linux-arm64"
OURS, OTHER = PINS["apache-tvm"], "0.26.0"
SAYS = f"has TVM {OTHER}, this service {OURS}; install the same there: pip install apache-tvm=={OURS}"


class OnTracker(Bench):
    """A coordinator that asks a real tracker for its devices."""

    def __init__(self, settings: Settings, database: Engine, port: int) -> None:
        self.port = port
        super().__init__(settings, database)

    def summary(self) -> dict[str, Any]:
        return ask_tracker(HOST, self.port)


@contextmanager
def device_with(tvm: str, port: int) -> Iterator[None]:
    """A device that tells this version; it serves no session."""
    facts = {"cpu": "a fine one", "cores": 4, "tvm": tvm}
    device = Registration((HOST, port), KEY, free_port(), {"facts": facts})
    device.offer()
    yield
    device.drop()


def test_a_device_with_another_tvm_is_told_with_both_versions_wherever_one_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registration, "_TIMEOUT_SEC", patience(2))
    port = free_port()
    with tracker_process(port), serve(tmp_path / "data") as web:
        bench = OnTracker(web.settings, web.engine, port)
        job_id = bench.submit(target=KEY)
        with device_with(OTHER, port):
            bench.run_until(lambda: OTHER in bench.job(job_id).message, passes=20)
            told = web.get(f"/v1/jobs/{job_id}").json()
            assert told["message"] == f"waiting for a device of {KEY}: the one there {SAYS}"
            (device,) = web.get("/v1/devices").json()
            assert (device["state"], device["problem"]) == ("incompatible", SAYS)
            assert f"It {SAYS}." in web.get("/devices").text
            monkeypatch.setenv("TUNER_URL", web.url)
            monkeypatch.setenv("TUNER_TOKEN", web.token)
            monkeypatch.setattr(sys, "argv", ["tunesmith", "devices"])
            with pytest.raises(SystemExit):
                main.main()
            assert f"{KEY} {SAYS}" in capsys.readouterr().out
        with device_with(OURS, port):
            bench.run_to(job_id, "succeeded")
            (device,) = web.get("/v1/devices").json()
            assert device["problem"] == ""
