"""A model's results are found, and held against those before them, alike on both databases."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import Session

from tests.support.rows import add_job, utcnow
from tuner.db.engine import read, write
from tuner.db.models import Benchmark, Evidence
from tuner.errors import NotFound
from tuner.jobs.history import history_of

pytestmark = pytest.mark.both_databases


def ended(session: Session, day: int, median_ms: float, torch_ms: float = 99.0, **fields: Any) -> str:
    """A job that timed its module on that day, a tenth of the median around it."""
    machine = fields.pop("machine", "here")
    at = utcnow() + timedelta(days=day)
    job = add_job(session, "succeeded", latency_ms=median_ms, created_at=at, finished_at=at, **fields)
    for variant, ms in (("tuned", median_ms), ("torch-eager", torch_ms + 1), ("torch-sdpa", torch_ms)):
        spread = {"median_ms": ms, "p10_ms": ms * 0.9, "p90_ms": ms * 1.1}
        session.add(Benchmark(job_id=job.id, variant=variant, n=50, threads=2, machine=machine, **spread))
    session.add(Evidence(job_id=job.id, manifest={"versions": {"tunesmith": f"0.{day}", "tvm": "0.27"}, "records": 3}))
    return job.id


def test_each_result_is_held_against_the_one_before_it_of_its_kind(engine: Engine) -> None:
    with write(engine) as session:
        first = ended(session, 1, 42.0)
        other = [
            ended(session, 2, 10.0, target="m1-cpu"),
            ended(session, 3, 10.0, seq_len=64),
            ended(session, 4, 10.0, lengths=[2, 8, 14]),
            ended(session, 5, 10.0, precision="bf16"),
            ended(session, 6, 10.0, machine="there"),
        ]
        faster, same, slower = (ended(session, day, ms) for day, ms in ((7, 30.0), (8, 31.0), (9, 50.0)))
        ended(session, 10, 1.0, model="bert-base-uncased")
        add_job(session, "failed")
    with read(engine) as session:
        found = {one.job_id: one for one in history_of(session, "minilm-l6", None, 100)}
    assert list(found) == [first, *other, faster, same, slower]
    assert {found[job_id].change for job_id in (first, *other)} == {None}
    told = [(found[job_id].previous_ms, found[job_id].change) for job_id in (faster, same, slower)]
    assert told == [(42.0, "faster"), (30.0, "as before"), (31.0, "slower")]
    assert (found[faster].baseline_ms, found[faster].made_with) == (99.0, "tunesmith 0.7, tvm 0.27")
    assert [found[job_id].shape for job_id in (first, other[2])] == ["1 x 128", "texts of 2-14"]


def test_a_history_is_of_a_target_and_the_last_results(engine: Engine) -> None:
    with write(engine) as session:
        jobs = [ended(session, day, 10.0, target=target) for day, target in enumerate(["a", "b", "a", "a"], 1)]
    with read(engine) as session:
        assert [one.job_id for one in history_of(session, "minilm-l6", "a", 100)] == [jobs[0], *jobs[2:]]
        assert [one.job_id for one in history_of(session, "minilm-l6", None, 2)] == jobs[2:]
        with pytest.raises(NotFound, match="nonesuch"):
            history_of(session, "nonesuch", None, 100)
