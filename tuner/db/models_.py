"""Models: one row per name and head."""

from __future__ import annotations

from typing import Any

from sqlmodel import Session, col, select

from tuner.db.models import Job, Model
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


def complete(session: Session, job: Job, head: str, **fields: Any) -> Model:
    """Write what was found out about a job's model; its head may have been left open until then. A row that has this
    name and head already becomes the job's."""
    model = get(session, job.model_id)
    same = session.exec(select(Model).where(Model.name == model.name, Model.head == head)).first()
    if same is not None:
        model = same
        job.model_id = same.id
    model.sqlmodel_update({**fields, "head": head})
    session.add(model)
    return model


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
