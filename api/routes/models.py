"""Models: add, list, get."""

from __future__ import annotations

from fastapi import APIRouter

from api.deps import EngineDep, WindowDep, page_of
from api.lookups import NewSource
from tuner.db import models_
from tuner.db.engine import read, write
from tuner.jobs import submit
from tuner.schemas import ModelOut, Page

router = APIRouter(prefix="/models", tags=["models"])


@router.post("", status_code=201)
def add_model(source: NewSource, engine: EngineDep) -> ModelOut:
    """Add a preset, a hub id or a folder on the service's machine; one that is known is brought up to date."""
    with write(engine) as session:
        return ModelOut.model_validate(submit.add_model(session, source), from_attributes=True)


@router.get("")
def list_models(engine: EngineDep, window: WindowDep) -> Page[ModelOut]:
    """Models that were added or submitted, by name."""
    with read(engine) as session:
        found = models_.find(session, window)
    return page_of([ModelOut.model_validate(row, from_attributes=True) for row in found.rows], found, window)


@router.get("/{model_id}")
def get_model(model_id: str, engine: EngineDep) -> ModelOut:
    """One model."""
    with read(engine) as session:
        return ModelOut.model_validate(models_.get(session, model_id), from_attributes=True)
