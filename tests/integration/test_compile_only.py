"""Jobs that only compile: a tiny model goes through its stages without a tracker, a device or an engine."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from sqlalchemy import Engine

from rpc.facts import device_facts
from tests.support import databases
from tests.support.fake_hub import commit_of, fake_hub, use_endpoint
from tests.support.manifests import manifest_fields
from tests.support.rest import talking_to
from tests.support.rows import add_job
from tests.support.submitting import submit_fetched
from tests.support.tiny_models import write_model
from tuner.compiler.module import write_manifest
from tuner.config import Settings
from tuner.db import devices, jobs
from tuner.db.engine import make_engine, read, write
from tuner.db.models import Artifact, Job
from tuner.errors import InvalidInput
from tuner.importers import cache
from tuner.jobs import stages
from tuner.jobs.contest import TUNED, UNTUNED
from tuner.jobs.deliver import staging
from tuner.schemas import JobIn

SEQ_LEN = 16
FACTS = device_facts()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "tiny", "distilbert")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Of one service for all tests here, so that the model is imported once."""
    found = Settings(data_dir=tmp_path_factory.mktemp("service"))
    databases.create(found)
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
    with talking_to(settings) as client:
        (listed,) = client.get("/v1/artifacts", params={"job_id": for_m1.id}).json()["items"]
        manifest = listed["manifest"]
        assert (manifest["load_check"], manifest["tested"]) == ("symbols", "not load-tested on a Mac")
        assert (manifest["coverage"], manifest["records"]) == (0.0, 0)
        assert manifest["binary"]["format"] == "Mach-O aarch64 shared library"
        assert not manifest.keys() & {"latency", "verification", "device"}
        assert manifest.keys() <= manifest_fields()
        ids = {one["workload"] for one in manifest["schedules"]}
        assert {end for edge in manifest["flow"] for end in edge[:2]} == ids | {"input_ids", "attention_mask", "output"}
        assert client.post(f"/v1/artifacts/{listed['id']}/verify").json()["ok"]
        page = client.get(f"/jobs/{for_m1.id}").text
        assert "not load-tested on a Mac" in page
        assert "Coverage" in page


def test_it_is_had_in_every_format(settings: Settings, for_m1: Job) -> None:
    with talking_to(settings) as client:
        url = f"/v1/artifacts/{for_m1.artifact_id}/download"
        got = {form: client.get(url, params={"format": form}) for form in ("so", "dylib", "tar", "source")}
    assert {answer.status_code for answer in got.values()} == {200}
    assert got["so"].content == got["dylib"].content
    assert 'target triple = "arm64-apple-macos"' in got["source"].text
    with tarfile.open(fileobj=io.BytesIO(got["tar"].content)) as archive:
        assert "records.jsonl" in archive.getnames()
        assert archive.extractfile("graph.relax").read().count(b"R.call_tir(") > 10  # type: ignore[union-attr]


def test_its_workloads_are_listed_without_a_time(database: Engine, for_m1: Job) -> None:
    with read(database) as session:
        rows = jobs.workloads(session, for_m1.id)
    assert len(rows) > 8
    assert all(link.untuned_us is None and link.best_us is None for link, _ in rows)
    assert for_m1.latency_ms is None


def test_the_same_request_gives_the_same_artifact(
    settings: Settings, database: Engine, model: Path, for_m1: Job
) -> None:
    with read(database) as session:
        file = settings.artifacts_dir / session.get_one(Artifact, for_m1.artifact_id).path
    before = file.stat().st_mtime_ns
    assert compiled(settings, database, model, "m1-cpu").artifact_id == for_m1.artifact_id
    assert file.stat().st_mtime_ns == before


def test_a_module_for_this_machine_is_run_and_compared(settings: Settings, database: Engine, model: Path) -> None:
    with write(database) as session:
        devices.seen(session, settings.device_key, facts=FACTS)
    job = compiled(settings, database, model, "local")
    with talking_to(settings) as client:
        manifest = client.get(f"/v1/artifacts/{job.artifact_id}").json()["manifest"]
    assert (manifest["load_check"], manifest["tested"]) == ("device", "loaded and run")
    assert manifest["verification"]["max_abs_error"] < 1e-3


def test_the_commit_goes_from_the_job_to_its_manifest(
    settings: Settings, database: Engine, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with fake_hub({"some-org/tiny": {"main": write_model(tmp_path / "newest"), "v1": model}}) as served:
        use_endpoint(monkeypatch, served.endpoint)
        wish = JobIn(model="some-org/tiny@v1", target="m1-cpu", seq_len=SEQ_LEN, compile_only=True)
        job_id = submit_fetched(database, settings, wish).id
    for stage in (stages.import_model, stages.extract, stages.compile_module, stages.verify):
        stage(settings, job_id)
    with read(database) as session:
        job = jobs.get(session, job_id)
    imported = cache.find(settings.imports_dir, job.import_key)
    assert imported is not None
    with talking_to(settings) as client:
        told = client.get(f"/v1/jobs/{job_id}").json()["revision"]
        manifest = client.get(f"/v1/artifacts/{job.artifact_id}").json()["manifest"]
    assert {told, imported.revision, manifest["model"]["revision"]} == {commit_of(model)}


def test_a_job_goes_on_with_what_was_found_when_the_folder_is_gone(
    settings: Settings, database: Engine, model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    wish = JobIn(model=str(folder), target="m1-cpu", seq_len=SEQ_LEN, compile_only=True)
    job_id = submit_fetched(database, settings, wish).id
    shutil.rmtree(folder)
    stages.import_model(settings, job_id)
    for stage in (stages.extract, stages.compile_module, stages.verify):
        stage(settings, job_id)
    with read(database) as session:
        assert jobs.get(session, job_id).artifact_id


def test_modules_that_another_host_has_are_made_again_before_they_are_verified(
    settings: Settings, database: Engine, model: Path
) -> None:
    wish = JobIn(model=str(model), target="m1-cpu", seq_len=SEQ_LEN, compile_only=True)
    job_id = submit_fetched(database, settings, wish).id
    for stage in (stages.import_model, stages.extract, stages.compile_module):
        stage(settings, job_id)
    shutil.rmtree(settings.jobs_dir / job_id)
    stages.verify(settings, job_id)
    with read(database) as session:
        job = jobs.get(session, job_id)
        artifact = session.get_one(Artifact, job.artifact_id)
    assert (settings.artifacts_dir / artifact.path).is_file()


def test_modules_are_timed_once_they_are_here_and_verified(
    settings: Settings, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def made_again(settings: Settings, job_id: str) -> None:
        made.append(job_id)

    def stop(*_: object) -> None:
        raise InterruptedError

    monkeypatch.setattr(stages, "verify", made_again)
    monkeypatch.setattr(stages, "imported_of", stop)
    with write(database) as session:
        job = add_job(session, "benchmarking")
    for manifest, expected in (({}, [job.id]), ({"verification": {}}, [])):
        for name in (UNTUNED, TUNED):
            (folder := staging(settings, job.id) / name).mkdir(parents=True, exist_ok=True)
            write_manifest(folder, manifest)
        made.clear()
        with pytest.raises(InterruptedError):
            stages.benchmark(settings, job.id)
        assert made == expected


def test_kernels_that_a_job_leaves_out_are_not_tuned_and_a_name_that_is_none_ends_it(
    settings: Settings, database: Engine, model: Path
) -> None:
    wish = JobIn(model=str(model), target="m1-cpu", seq_len=SEQ_LEN, compile_only=True)
    job_id = submit_fetched(database, settings, wish).id
    stages.import_model(settings, job_id)
    with write(database) as session:
        job = jobs.get(session, job_id)
        job.only, job.skip = ["matmul*"], ["*gelu*"]
    stages.extract(settings, job_id)
    with talking_to(settings) as client:
        told = client.get(f"/v1/jobs/{job_id}/workloads").json()
        page = client.get(f"/jobs/{job_id}").text
    tuned = {one["name"] for one in told if one["tunable"] and not one["left_out"]}
    assert tuned
    assert all(name.startswith("matmul") and "gelu" not in name for name in tuned)
    assert {one["name"] for one in told if one["left_out"] and "gelu" in one["name"]}
    assert page.count("left out</span>") == sum(one["left_out"] for one in told)
    assert "only matmul*, without *gelu*" in page
    with write(database) as session:
        jobs.get(session, job_id).skip = ["nonesuch"]
    with pytest.raises(InvalidInput, match=r"No kernel of .* is called nonesuch") as caught:
        stages.extract(settings, job_id)
    assert "softmax" in caught.value.hint
