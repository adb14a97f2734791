"""Models: one row per name and head."""

from __future__ import annotations

from typing import Any

from sqlmodel import Session, col, select

from tuner.db.models import Model
from tuner.db.paging import FIRST, Found, Part, Window, page
from tuner.errors import NotFound


def get(session: Session, model_id: str) -> Model:
    """The model. Raises NotFound naming it."""
    model = session.get(Model, model_id)
    if model is None:
        raise NotFound(f"There is no model {model_id}.", "List the models with `tunesmith models list`.")
    return model


def find(session: Session, window: Window = FIRST) -> Found[Model]:
    """Models by name."""
    return page(session, [Part(select(Model), (col(Model.name), col(Model.head)))], window)


def put(session: Session, name: str, head: str, **fields: Any) -> Model:
    """Add the model of this name and head, or bring its row up to date."""
    model = session.exec(select(Model).where(Model.name == name, Model.head == head)).first()
    if model is None:
        model = Model(name=name, head=head, **fields)
    else:
        model.sqlmodel_update(fields)
    session.add(model)
    session.flush()
    return model
