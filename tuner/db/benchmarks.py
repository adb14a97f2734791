"""Benchmarks: the interleaved comparison a job ended with."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import delete
from sqlmodel import Session, col, select

from tuner.db.models import Benchmark
from tuner.db.paging import page


def replace(session: Session, job_id: str, rows: Iterable[Benchmark]) -> None:
    """Store one comparison of a job in place of the one before it."""
    session.execute(delete(Benchmark).where(col(Benchmark.job_id) == job_id))
    session.add_all(rows)


def find(
    session: Session, job_id: str | None = None, artifact_id: str | None = None, limit: int = 100, offset: int = 0
) -> tuple[list[Benchmark], int]:
    """Variants, fastest first within a job, newest job first, and how many match."""
    query = select(Benchmark)
    if job_id is not None:
        query = query.where(Benchmark.job_id == job_id)
    if artifact_id is not None:
        query = query.where(Benchmark.artifact_id == artifact_id)
    order = (
        (col(Benchmark.created_at).desc(), col(Benchmark.median_ms)) if job_id is None else (col(Benchmark.median_ms),)
    )
    return page(session, query, order, limit, offset)


def of_jobs(session: Session, job_ids: list[str]) -> list[Benchmark]:
    """All variants of these jobs."""
    return list(session.exec(select(Benchmark).where(col(Benchmark.job_id).in_(job_ids)))) if job_ids else []
