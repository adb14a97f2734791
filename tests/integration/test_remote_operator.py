"""An operator's job for a chip whose device is elsewhere: this machine plays it, over the real tracker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.support import databases
from tests.support.processes import free_port
from tests.support.rpc_device import agent_process, tracker_process
from tests.support.submitting import submit_fetched
from tests.support.tiny_imports import local_target
from tuner.cli import words
from tuner.config import Settings
from tuner.db import artifacts, benchmarks, jobs
from tuner.db.engine import make_engine, read, write
from tuner.jobs import stages
from tuner.jobs.target_lookup import peak_for
from tuner.jobs.view import job_out
from tuner.schemas import BudgetIn, JobIn
from tuner.targets import presets

TARGET = "m1-cpu"
OPERATOR = "op:gemm:16,64,24"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    number = free_port()
    with tracker_process(number), agent_process(number, key=TARGET):
        yield number


def submitted(database: Engine, settings: Settings) -> str:
    """A job for the chip, whose kernels are built for the machine that plays it."""
    job = submit_fetched(database, settings, JobIn(model=OPERATOR, target=TARGET, budget=BudgetIn(trials=1)))
    target = local_target()
    with write(database) as session:
        jobs.get(session, job.id).target_json = target
    return job.id


def test_an_operator_timed_elsewhere_is_seen_against_its_chips_peak(port: int, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, tracker_port=port, build_workers=1)
    databases.create(settings)
    database = make_engine(settings)
    job_id = submitted(database, settings)
    for stage in (stages.import_model, stages.extract, stages.compile_module, stages.verify, stages.benchmark):
        stage(settings, job_id)
    with read(database) as session:
        job = jobs.get(session, job_id)
        out = job_out(session, job)
        peak = peak_for(session, settings, job)
        assert job.artifact_id is not None
        manifest: dict[str, Any] = artifacts.get(session, job.artifact_id).manifest
        timed = benchmarks.find(session, job_id=job_id).rows
    database.dispose()
    assert peak == presets.resolve(TARGET, "local").peak
    assert (peak.gflops, peak.gb_per_sec, peak.source) == (409.6, 68.3, "computed")
    assert (manifest["peak_gflops"], manifest["peak_source"]) == (409.6, "computed")
    assert set(manifest["gflops"]) == {row.variant for row in timed} == {"tuned", "untuned"}
    assert out.latency_ms is not None
    assert manifest["gflops"]["tuned"] == pytest.approx(2 * 16 * 64 * 24 / out.latency_ms / 1e6)
    assert "of the peak); peak of the target 410, computed" in words.of_peak(manifest)
