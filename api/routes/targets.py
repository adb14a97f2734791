"""Targets: what a job can be tuned for."""

from __future__ import annotations

from fastapi import APIRouter

from api.deps import EngineDep, SettingsDep
from tuner.db.engine import read
from tuner.jobs.target_lookup import target_outs
from tuner.schemas import TargetOut

router = APIRouter(prefix="/targets", tags=["targets"])


@router.get("")
def list_targets(engine: EngineDep, settings: SettingsDep) -> list[TargetOut]:
    """Targets by name, as TVM sees them; a TVM target given as JSON can be submitted too."""
    with read(engine) as session:
        return target_outs(session, settings)
