"""Benchmarks: the interleaved comparison a job ended with."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import delete
from sqlmodel import Session, col, select

from tuner.db.models import Benchmark
from tuner.db.paging import FIRST, Found, Part, Window, page


def replace(session: Session, job_id: str, rows: Iterable[Benchmark]) -> None:
    """Store one comparison of a job in place of the one before it."""
    session.execute(delete(Benchmark).where(col(Benchmark.job_id) == job_id))
    session.add_all(rows)


def find(
    session: Session, job_id: str | None = None, artifact_id: str | None = None, window: Window = FIRST
) -> Found[Benchmark]:
    """Variants, newest first; those of one job fastest first."""
    query = select(Benchmark)
    if job_id is not None:
        query = query.where(Benchmark.job_id == job_id)
    if artifact_id is not None:
        query = query.where(Benchmark.artifact_id == artifact_id)
    number = col(Benchmark.id)
    if job_id is None:
        return page(session, [Part(query, (col(Benchmark.created_at), number), descending=True)], window)
    return page(session, [Part(query, (col(Benchmark.median_ms), number))], window)


def of_jobs(session: Session, job_ids: list[str]) -> list[Benchmark]:
    """All variants of these jobs."""
    return list(session.exec(select(Benchmark).where(col(Benchmark.job_id).in_(job_ids)))) if job_ids else []
