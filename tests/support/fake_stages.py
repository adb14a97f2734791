"""Stages without TVM over a real database: the contract of ``tuner.jobs.stages`` with made-up numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from sqlalchemy import Engine
from sqlmodel import Session

from tests.support.fake_engine import Stage
from tests.support.rows import make_record, make_workload, utcnow
from tuner.config import Settings
from tuner.db import jobs, records
from tuner.db.engine import make_engine, write
from tuner.db.models import JobWorkload, Round

FAMILY = "llvm-test"
WORKLOADS = (1, 2, 3)  # the last one can't be tuned


def import_model(settings: Settings, job_id: str) -> None:
    """Learn that the weights are random."""
    _session(settings, lambda session: setattr(jobs.get(session, job_id), "weights", "random"))


def extract(settings: Settings, job_id: str) -> None:
    """Find the workloads."""
    _session(settings, lambda session: _add_workloads(session, job_id))


def compile_module(settings: Settings, job_id: str) -> None:
    """Find the job."""
    _session(settings, lambda session: jobs.get(session, job_id))


def verify(settings: Settings, job_id: str) -> None:
    """Find the job."""
    _session(settings, lambda session: jobs.get(session, job_id))


def benchmark(settings: Settings, job_id: str) -> None:
    """Publish an artifact that does not exist."""
    _session(settings, lambda session: _publish(session, job_id))


def tune_round(settings: Settings, job_id: str, round_id: str) -> None:
    """Measure a batch: each candidate of a workload is a little faster than the last."""
    _session(settings, lambda session: measure(session, job_id, round_id, None))
    _session(settings, lambda session: finish(session, round_id))


def measure(session: Session, job_id: str, round_id: str, count: int | None, error_class: str = "") -> None:
    """Record ``count`` candidates of the round (None: all), as failed ones if ``error_class`` is given."""
    row = session.get_one(Round, round_id)
    link = session.get_one(JobWorkload, (job_id, row.workload_id))
    for _ in range(row.batch if count is None else count):
        link.trials += 1
        mean_sec = None if error_class else 1e-3 / link.trials
        record = make_record(f"{job_id}-{link.trials}", mean_sec, int(row.workload_id[3:], 16), FAMILY)
        record.job_id, record.round_id, record.error_class = job_id, round_id, error_class
        records.add(session, record)
        if mean_sec is not None:
            link.best_us = min(link.best_us or mean_sec * 1e6, mean_sec * 1e6)
    session.add(link)


def finish(session: Session, round_id: str) -> None:
    """Close the round as the real stage does."""
    row = session.get_one(Round, round_id)
    link = session.get_one(JobWorkload, (row.job_id, row.workload_id))
    row.state, row.measured, row.best_us, row.finished_at = "done", row.batch, link.best_us, utcnow()
    session.add(row)


def _add_workloads(session: Session, job_id: str) -> None:
    for number in WORKLOADS:
        workload = records.put_workload(session, make_workload(number, flops=1e8 / number))
        if session.get(JobWorkload, (job_id, workload.id)) is None:
            session.add(
                JobWorkload(
                    job_id=job_id,
                    workload_id=workload.id,
                    position=number,
                    weight=12,
                    tunable=number != WORKLOADS[-1],
                    untuned_us=2000.0 / number,
                )
            )


def _publish(session: Session, job_id: str) -> None:
    job = jobs.get(session, job_id)
    job.artifact_id, job.latency_ms = "art-1", 12.5
    session.add(job)


def fake_stages() -> dict[str, Stage]:
    """These stages by name; tests replace what shall not work."""
    stages: list[Stage] = [import_model, extract, tune_round, compile_module, verify, benchmark]
    return {stage.__name__: stage for stage in stages}


def _session(settings: Settings, change: Callable[[Session], object]) -> None:
    engine = _engine(settings.data_dir, settings.database_url)
    try:
        with write(engine) as session:
            change(session)
    finally:
        engine.dispose()


@lru_cache(maxsize=4)
def _engine(data_dir: Path, database_url: str | None) -> Engine:
    """One for all stages of a test: it keeps what statements compile to."""
    return make_engine(Settings(data_dir=data_dir, database_url=database_url))
