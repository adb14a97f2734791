"""Operators: what is known by name, and those of the user's own."""

from __future__ import annotations

from fastapi import APIRouter

from api.deps import EngineDep, SettingsDep
from tuner.db.engine import write
from tuner.importers.operators import catalog, files
from tuner.importers.source import resolve_source
from tuner.jobs import submit
from tuner.schemas import ModelOut, OperatorIn, OperatorOut

router = APIRouter(prefix="/operators", tags=["operators"])


@router.get("")
def list_operators() -> list[OperatorOut]:
    """Operators that can be tuned by name."""
    return [OperatorOut.model_validate(kind, from_attributes=True) for kind in catalog.KINDS.values()]


@router.post("", status_code=201)
def add_operator(body: OperatorIn, engine: EngineDep, settings: SettingsDep) -> ModelOut:
    """Add an operator of your own; what it answers is submitted like any model. It is checked when its job starts."""
    source = resolve_source(str(files.write(settings.operators_dir, body)))
    with write(engine) as session:
        return ModelOut.model_validate(submit.add_model(session, source), from_attributes=True)
