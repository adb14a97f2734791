"""Benchmarks: the comparison each job ended with."""

from __future__ import annotations

from fastapi import APIRouter

from api.deps import EngineDep, Limit, Offset
from tuner.db import benchmarks
from tuner.db.engine import read
from tuner.schemas import BenchmarkOut, Page

router = APIRouter(prefix="/benchmarks", tags=["benchmarks"])


@router.get("")
def list_benchmarks(
    engine: EngineDep,
    job_id: str | None = None,
    artifact_id: str | None = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Page[BenchmarkOut]:
    """Variants measured side by side, fastest first; of one job or artifact if given."""
    with read(engine) as session:
        rows, total = benchmarks.find(session, job_id, artifact_id, limit, offset)
    items = [BenchmarkOut.model_validate(row, from_attributes=True) for row in rows]
    return Page(items=items, total=total, limit=limit, offset=offset)
