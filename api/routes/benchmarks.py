"""Benchmarks: the comparison each job ended with."""

from __future__ import annotations

from fastapi import APIRouter

from api.deps import EngineDep, LongWindowDep, page_of
from tuner.db import benchmarks
from tuner.db.engine import read
from tuner.schemas import BenchmarkOut, Page

router = APIRouter(prefix="/benchmarks", tags=["benchmarks"])


@router.get("")
def list_benchmarks(
    engine: EngineDep, window: LongWindowDep, job_id: str | None = None, artifact_id: str | None = None
) -> Page[BenchmarkOut]:
    """Variants measured side by side, newest first; those of one job fastest first."""
    with read(engine) as session:
        found = benchmarks.find(session, job_id, artifact_id, window)
    return page_of([BenchmarkOut.model_validate(row, from_attributes=True) for row in found.rows], found, window)
