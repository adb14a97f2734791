"""History: how fast a model became, job after job."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.deps import EngineDep
from tuner.db.engine import read
from tuner.jobs.history import history_of
from tuner.schemas import HistoryPoint

router = APIRouter(prefix="/history", tags=["history"])


@router.get("")
def get_history(
    engine: EngineDep,
    model: Annotated[str, Query(min_length=1, max_length=400, description="name or id")],
    target: str | None = None,
    limit: Annotated[int, Query(ge=1, le=500, description="results at most, the last ones")] = 100,
) -> list[HistoryPoint]:
    """What jobs of a model came to, oldest first, each against the one before it of the same kind."""
    with read(engine) as session:
        return history_of(session, model, target, limit)
