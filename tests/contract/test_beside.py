"""Finished jobs stand side by side, with what speaks against comparing them, alike on both databases."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import Session

from tests.support.rows import add_job, utcnow
from tuner.db.engine import read, write
from tuner.db.models import Artifact, Benchmark, Evidence
from tuner.errors import Conflict, InvalidInput, NotFound
from tuner.jobs.beside import compared

pytestmark = pytest.mark.both_databases

NOON = utcnow().replace(hour=12)


def ended(session: Session, median_ms: float | None = 10.0, machine: str = "here", day: int = 0, **fields: Any) -> str:
    """A job that succeeded and, unless it has no median, timed its module."""
    at = NOON + timedelta(days=day)
    job = add_job(session, "succeeded", latency_ms=median_ms, finished_at=at, **fields)
    job.artifact_id = f"art-{job.id}"
    session.add(Artifact(id=job.artifact_id, job_id=job.id, path="x.tar", size_bytes=2000, sha256="0" * 64))
    if median_ms is not None:
        for variant, ms in (("tuned", median_ms), ("torch-eager", 40.0)):
            spread = {"median_ms": ms, "p10_ms": ms * 0.9, "p90_ms": ms * 1.1, "mean_ms": ms, "std_ms": 0.5}
            session.add(Benchmark(job_id=job.id, variant=variant, n=50, threads=2, machine=machine, **spread))
    found = {"verification": {"max_abs_error": 1e-6, "fidelity": {"cosine_mean": 0.999}}, "precision": "bf16"}
    session.add(Evidence(job_id=job.id, manifest=found))
    return job.id


def test_jobs_stand_side_by_side_in_the_order_they_were_named(engine: Engine) -> None:
    with write(engine) as session:
        one, other = ended(session, 20.0), ended(session, 10.0)
    with read(engine) as session:
        found = compared(session, [other, one, other])
    assert [(job.job_id, job.median_ms, job.speedup) for job in found.jobs] == [(other, 10.0, 4.0), (one, 20.0, 2.0)]
    first = found.jobs[0]
    assert (first.max_abs_error, first.cosine, first.size_bytes, first.shape) == (1e-6, 0.999, 2000, "1 x 128")
    assert first.precision == "bf16"
    assert found.cautions == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"seq_len": 64}, "different shapes: 1 x 128; 1 x 64."),
        ({"lengths": [4, 20, 90]}, "different shapes: 1 x 128; texts of 4-90."),
        ({"target": "m1-cpu"}, "different targets: local; m1-cpu."),
        ({"machine": "there"}, "different machines: here, 2 threads; there, 2 threads."),
        ({"day": 3}, "different days: "),
        ({"median_ms": None}, "No device has timed job-"),
    ],
)
def test_what_speaks_against_comparing_is_said(engine: Engine, fields: dict[str, Any], said: str) -> None:
    with write(engine) as session:
        ids = [ended(session), ended(session, **fields)]
    with read(engine) as session:
        (caution,) = compared(session, ids).cautions
    assert said in caution


def test_jobs_without_a_module_and_unknown_ones_are_refused(engine: Engine) -> None:
    with write(engine) as session:
        done, running, failed = ended(session), add_job(session, "tuning").id, add_job(session, "failed").id
    with read(engine) as session:
        for ids, error, what in (
            ([done, running], Conflict, "has not ended: it is tuning"),
            ([done, failed], Conflict, "failed and has no module"),
            ([done, "job-nonesuch"], NotFound, "job-nonesuch"),
            ([done, done], InvalidInput, "nothing to be compared with"),
        ):
            with pytest.raises(error, match=what):
                compared(session, ids)
