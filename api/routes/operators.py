"""Operators: what is known by name, and those of the user's own."""

from __future__ import annotations

from fastapi import APIRouter

from api.deps import EngineDep, SettingsDep
from tuner.db.engine import write
from tuner.importers.operators import catalog, files
from tuner.jobs import submit
from tuner.schemas import ModelIn, ModelOut, OperatorIn, OperatorOut

router = APIRouter(prefix="/operators", tags=["operators"])


@router.get("")
def list_operators() -> list[OperatorOut]:
    """Operators that can be tuned by name."""
    return [OperatorOut.model_validate(kind, from_attributes=True) for kind in catalog.KINDS.values()]


@router.post("", status_code=201)
def add_operator(body: OperatorIn, engine: EngineDep, settings: SettingsDep) -> ModelOut:
    """Add an operator of your own; what it answers is submitted like any model. It is checked when its job starts."""
    path = files.write(settings.operators_dir, body)
    with write(engine) as session:
        return ModelOut.model_validate(submit.add_model(session, ModelIn(name=str(path))), from_attributes=True)
