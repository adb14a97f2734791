"""Artifacts on a device of the fleet: this machine plays one, over the real tracker."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import Engine

from tests.support import databases
from tests.support.processes import free_port, patience
from tests.support.rest import talking_to
from tests.support.rpc_device import agent_process, tracker_process
from tests.support.submitting import submit_fetched
from tests.support.tiny_imports import local_target
from tuner.config import Settings
from tuner.db import device_checks, devices, jobs
from tuner.db.engine import make_engine, read, write
from tuner.db.models import DeviceCheck
from tuner.importers import shelf
from tuner.jobs import stages
from tuner.jobs.check_child import CheckChild
from tuner.jobs.checking import check
from tuner.schemas import JobIn

KEY = "m1-cpu"
OPERATOR = "op:gemm:16,64,24"


@dataclass
class Service:
    settings: Settings
    engine: Engine

    def artifact(self, target: dict[str, object] | None) -> str:
        """Of the operator, compiled for the chip, or for the machine that plays it."""
        wish = JobIn(model=OPERATOR, target=KEY, compile_only=True)
        job_id = submit_fetched(self.engine, self.settings, wish).id
        if target is not None:
            with write(self.engine) as session:
                jobs.get(session, job_id).target_json = target
        for stage in (stages.import_model, stages.extract, stages.compile_module, stages.verify):
            stage(self.settings, job_id)
        with read(self.engine) as session:
            found = jobs.get(session, job_id).artifact_id
        assert found is not None
        return found

    def checked(self, artifact_id: str, key: str = KEY) -> DeviceCheck:
        """What came of a check in this process."""
        with write(self.engine) as session:
            device_checks.ask(session, artifact_id, key)
        check(self.settings, self.engine, artifact_id, key)
        return self.row(artifact_id, key)

    def row(self, artifact_id: str, key: str = KEY) -> DeviceCheck:
        with read(self.engine) as session:
            found = device_checks.get(session, artifact_id, key)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    port = free_port()
    with tracker_process(port), agent_process(port, key=KEY):
        settings = Settings(
            data_dir=tmp_path_factory.mktemp("service"), tracker_port=port, lease_timeout_sec=patience(10)
        )
        databases.create(settings)
        engine = make_engine(settings)
        yield Service(settings, engine)
        engine.dispose()


@pytest.fixture(scope="module")
def sound(service: Service) -> str:
    return service.artifact(local_target())


def test_an_artifact_is_loaded_run_compared_and_timed_there(service: Service, sound: str) -> None:
    row = service.checked(sound)
    assert row.state == "loaded", row.found
    assert row.found["median_ms"] > 0
    assert row.found["n"] == 15
    assert row.found["verification"]["max_rel_error"] < 1e-3
    with talking_to(service.settings) as client:
        shown = client.get(f"/v1/artifacts/{sound}").json()
        assert (shown["runs"], shown["tested"]) == (True, shown["checks"][0]["found"] and shown["tested"])
        assert shown["tested"].startswith("loaded and run on ")
        assert shown["tested"] in client.get("/artifacts").text.replace("&#39;", "'")


def test_without_the_import_it_is_run_all_the_same(
    service: Service, sound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(shelf, "note_use", gone)
    row = service.checked(sound)
    assert row.state == "loaded", row.found
    assert "verification" not in row.found


def test_what_the_device_can_not_run_is_told(service: Service) -> None:
    row = service.checked(service.artifact(None))
    assert row.state == "failed"
    assert "aarch64" in row.found["error"]


def test_a_process_of_its_own_does_so_for_the_coordinator(service: Service, sound: str) -> None:
    with write(service.engine) as session:
        devices.seen(session, KEY)
    with talking_to(service.settings) as client:
        asked = client.post(f"/v1/artifacts/{sound}/check", json={"device": KEY}).json()
        assert (asked["state"], asked["ended_at"]) == ("wanted", None)
        assert client.post(f"/v1/artifacts/{sound}/check", json={"device": "m2-cpu"}).status_code == 422
        assert client.post("/v1/artifacts/art-none/check", json={"device": KEY}).status_code == 404
    missing = service.settings.model_copy(update={"lease_timeout_sec": 0.1, "session_timeout_sec": 0.1})
    check(missing, service.engine, sound, "m2-cpu")
    env = {"TUNER_DATA_DIR": str(service.settings.root), "TUNER_TRACKER_PORT": str(service.settings.tracker_port)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        child = CheckChild(sound, KEY)
    while child.alive:
        time.sleep(0.05)
    assert service.row(sound).state == "loaded"
