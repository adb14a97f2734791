"""A job for another architecture, from this host: tuned, compiled, verified and timed on an emulated ARM machine."""

from __future__ import annotations

import functools
import json
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from tests.support import arm64
from tests.support.fake_engine import FakeCluster, FakeEngine
from tests.support.processes import free_port
from tests.support.rpc_device import HOST, tracker_process
from tests.support.submitting import submit_job
from tests.support.tiny_models import write_model
from tuner.artifact.loader import ArtifactError, load
from tuner.config import Settings
from tuner.db import jobs
from tuner.db.engine import read
from tuner.db.models import Device, Job, Record
from tuner.jobs import stages
from tuner.jobs.coordinator import Coordinator
from tuner.jobs.device_watch import DeviceWatch, ask_tracker
from tuner.schemas import BudgetIn, JobIn
from tuner.state import ROUND, STAGES, TERMINAL

KEY = "linux-arm64"
TARGET = {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "apple-m1", "num-cores": 2}
TRIALS = 16
EM_AARCH64 = 183  # e_machine of an ELF header

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module", autouse=True)
def machine() -> arm64.Machine:
    try:
        return arm64.machine()
    except arm64.NotToBeHad as reason:
        pytest.skip(f"no emulated ARM machine: {reason}")


@pytest.fixture
def port() -> Iterator[int]:
    number = free_port()
    with tracker_process(number):
        yield number


@pytest.fixture
def settings(settings: Settings, port: int) -> Settings:
    changes = {"tracker_host": HOST, "tracker_port": port, "round_batch": 4, "build_workers": 2, "min_free_bytes": 0}
    return settings.model_copy(update=changes)


def coordinator(settings: Settings, engine: Engine) -> Coordinator:
    """One that runs the service's own stages, in this process."""
    names = [*STAGES.values(), ROUND]
    cluster = FakeCluster({name: getattr(stages, name) for name in names})
    ask = functools.partial(ask_tracker, settings.tracker_host, settings.tracker_port)
    watch = DeviceWatch(engine, ask, settings.device_key, f"{settings.tracker_host}:{settings.tracker_port}")
    return Coordinator(settings, engine, FakeEngine(cluster, settings), watch, free_bytes=lambda: 1)


def test_a_bert_is_tuned_compiled_and_verified_on_an_arm_machine(
    settings: Settings, engine: Engine, port: int, tmp_path: Path
) -> None:
    model = write_model(tmp_path / "model")
    wish = JobIn(
        model=str(model), target=json.dumps(TARGET), batch=1, seq_len=16, budget=BudgetIn(trials=TRIALS), cold=True
    )
    job_id = submit_job(engine, settings, wish).id

    def job() -> Job:
        with read(engine) as session:
            return jobs.get(session, job_id)

    def run_until(happened: Callable[[Job], bool]) -> Job:
        while not happened(job()):
            leader.tick()
            time.sleep(0.05)
        return job()

    leader = coordinator(settings, engine)
    waits = run_until(lambda job: "waiting for a device" in job.message)
    assert f"tunesmith agent --tracker {HOST}:{port} --key {KEY}" in waits.message
    with arm64.device(port, KEY):
        done = run_until(lambda job: job.state in TERMINAL)
    assert done.state == "succeeded", done.error
    with read(engine) as session:
        facts = session.get_one(Device, KEY).facts
        records = session.exec(select(Record)).all()
    assert facts["arch"] == "aarch64"
    assert {(record.device, record.target_family) for record in records} == {(KEY, done.target_family)}
    assert [record.error for record in records if record.error_class] == []
    assert len(records) == done.trials == TRIALS
    check_artifact(next(settings.artifacts_dir.glob("*.tar")), done)


def check_artifact(tar_path: Path, job: Job) -> None:
    with tarfile.open(tar_path) as tar:
        manifest, library = (read_member(tar, name) for name in ("manifest.json", "lib.so"))
    described: dict[str, Any] = json.loads(manifest)
    assert (library[:4], int.from_bytes(library[18:20], "little")) == (b"\x7fELF", EM_AARCH64)
    assert described["target"] == TARGET
    assert described["verification"]["max_rel_error"] < 1e-3
    assert (described["load_check"], described["device"]["arch"]) == ("device", "aarch64")
    assert set(described["baselines"]) == {"untuned"}
    assert described["latency"]["median_ms"] == job.latency_ms
    assert described["records"] > 0
    with pytest.raises(ArtifactError, match="compiled for aarch64"):
        load(tar_path)


def read_member(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file is not None
    return file.read()
