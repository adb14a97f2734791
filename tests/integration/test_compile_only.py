"""Jobs that only compile: a tiny model goes through its stages without a tracker, a device or an engine."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from api.app import create_app
from rpc.facts import device_facts
from tests.support.submitting import submit_fetched
from tests.support.tiny_models import write_model
from tuner.config import Settings
from tuner.db import devices, jobs
from tuner.db.engine import make_engine, read, write
from tuner.db.migrate import upgrade
from tuner.db.models import Job
from tuner.jobs import stages
from tuner.schemas import JobIn

SEQ_LEN = 16


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "tiny", "distilbert")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Of one service for all tests here, so that the model is imported once."""
    found = Settings(data_dir=tmp_path_factory.mktemp("service"))
    upgrade(found)
    return found


@pytest.fixture(scope="module")
def database(settings: Settings) -> Iterator[Engine]:
    engine = make_engine(settings)
    yield engine
    engine.dispose()


def compiled(settings: Settings, database: Engine, model: Path, target: str) -> Job:
    """The job after its last stage."""
    wish = JobIn(model=str(model), target=target, seq_len=SEQ_LEN, compile_only=True)
    job_id = submit_fetched(database, settings, wish).id
    for stage in (stages.import_model, stages.extract, stages.compile_module, stages.verify):
        stage(settings, job_id)
    with read(database) as session:
        return jobs.get(session, job_id)


@pytest.fixture(scope="module")
def for_m1(settings: Settings, database: Engine, model: Path) -> Job:
    return compiled(settings, database, model, "m1-cpu")


def test_a_module_for_a_mac_is_published_with_its_symbols_checked(settings: Settings, for_m1: Job) -> None:
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        (listed,) = client.get("/v1/artifacts", params={"job_id": for_m1.id}).json()["items"]
        manifest = listed["manifest"]
        assert (manifest["load_check"], manifest["tested"]) == ("symbols", "not load-tested on a Mac")
        assert (manifest["coverage"], manifest["records"]) == (0.0, 0)
        assert manifest["binary"]["format"] == "Mach-O aarch64 shared library"
        assert not manifest.keys() & {"latency", "verification", "device"}
        assert client.post(f"/v1/artifacts/{listed['id']}/verify").json()["ok"]
        page = client.get(f"/jobs/{for_m1.id}").text
        assert "not load-tested on a Mac" in page
        assert "Coverage" in page


def test_it_is_had_in_every_format(settings: Settings, for_m1: Job) -> None:
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        url = f"/v1/artifacts/{for_m1.artifact_id}/download"
        got = {form: client.get(url, params={"format": form}) for form in ("so", "dylib", "tar", "source")}
    assert {answer.status_code for answer in got.values()} == {200}
    assert got["so"].content == got["dylib"].content
    assert 'target triple = "arm64-apple-macos"' in got["source"].text
    with tarfile.open(fileobj=io.BytesIO(got["tar"].content)) as archive:
        assert "records.jsonl" in archive.getnames()


def test_its_workloads_are_listed_without_a_time(database: Engine, for_m1: Job) -> None:
    with read(database) as session:
        rows = jobs.workloads(session, for_m1.id)
    assert len(rows) > 8
    assert all(link.untuned_us is None and link.best_us is None for link, _ in rows)
    assert for_m1.latency_ms is None


def test_the_same_request_gives_the_same_artifact(
    settings: Settings, database: Engine, model: Path, for_m1: Job
) -> None:
    file = settings.artifacts_dir / f"{for_m1.artifact_id}.tar"
    before = file.stat().st_mtime_ns
    assert compiled(settings, database, model, "m1-cpu").artifact_id == for_m1.artifact_id
    assert file.stat().st_mtime_ns == before


def test_a_module_for_this_machine_is_run_and_compared(settings: Settings, database: Engine, model: Path) -> None:
    with write(database) as session:
        devices.seen(session, settings.device_key, facts=device_facts())
    job = compiled(settings, database, model, "local")
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        manifest = client.get(f"/v1/artifacts/{job.artifact_id}").json()["manifest"]
    assert (manifest["load_check"], manifest["tested"]) == ("device", "loaded and run")
    assert manifest["verification"]["max_abs_error"] < 1e-3
