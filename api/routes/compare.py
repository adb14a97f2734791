"""Jobs side by side."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.deps import EngineDep
from tuner.db.engine import read
from tuner.jobs.beside import compared
from tuner.schemas import JobsCompared

router = APIRouter(prefix="/compare", tags=["compare"])


@router.get("")
def compare_jobs(
    engine: EngineDep,
    job_id: Annotated[list[str], Query(min_length=2, max_length=8, description="two to eight, once each")],
) -> JobsCompared:
    """What finished jobs came to, side by side, and in what they may not be compared."""
    with read(engine) as session:
        return compared(session, job_id)
