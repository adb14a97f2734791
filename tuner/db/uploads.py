"""Uploads: what was declared, and what is known of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import String, cast, func, or_
from sqlmodel import Session, col, select

from tuner.db import clock
from tuner.db.models import Job, Model, Upload
from tuner.db.paging import FIRST, Found, Part, Window, page
from tuner.errors import Conflict, NotFound
from tuner.state import ACTIVE


def get(session: Session, name: str) -> Upload:
    """The upload of this id or name. Raises NotFound naming it."""
    found = session.get(Upload, name) or by_name(session, name)
    if found is None:
        raise NotFound(f"There is no upload {name}.", "List them with `tunesmith uploads list`.")
    return found


def by_name(session: Session, name: str) -> Upload | None:
    """The upload of this name."""
    return session.exec(select(Upload).where(Upload.name == name)).first()


def of_content(session: Session, digest: str, owner: str) -> Upload | None:
    """One of this content that is complete, else one that this owner has begun."""
    found = session.exec(select(Upload).where(Upload.digest == digest).order_by(col(Upload.created_at))).all()
    usable = [one for one in found if one.state == "complete"] + [one for one in found if one.owner == owner]
    return usable[0] if usable else None


def find(session: Session, window: Window = FIRST) -> Found[Upload]:
    """Uploads, newest first."""
    return page(session, [Part(select(Upload), (col(Upload.created_at), col(Upload.id)), descending=True)], window)


def complete(session: Session) -> list[Upload]:
    """All that are complete."""
    return list(session.exec(select(Upload).where(Upload.state == "complete")))


def complete_names(session: Session) -> list[str]:
    """The names of all that are complete, newest first, without their lists of files."""
    query = select(Upload.name).where(Upload.state == "complete")
    return list(session.exec(query.order_by(col(Upload.created_at).desc())))


def number(session: Session) -> int:
    """How many there are, in whatever state."""
    return int(session.scalar(select(func.count()).select_from(Upload)) or 0)


def size_bytes(session: Session, but: str = "") -> int:
    """What all take together, those that are on their way as if they were here; without one of them."""
    return int(session.scalar(select(func.coalesce(func.sum(Upload.size_bytes), 0)).where(Upload.id != but)) or 0)


def touch(session: Session, upload: Upload) -> None:
    """It is used now. Call within ``write``."""
    upload.used_at = clock.now(session)
    session.add(upload)


def users(session: Session, model: str) -> list[str]:
    """Jobs that are not finished and whose model, or one of whose rivals, is called so."""
    query = select(Job.id).join(Model, col(Model.id) == col(Job.model_id)).where(col(Job.state).in_(ACTIVE))
    is_rival = cast(col(Job.against), String).contains(json.dumps(model), autoescape=True)
    return list(session.exec(query.where(or_(col(Model.name) == model, is_rival)).order_by(col(Job.id))))


def refuse_used(session: Session, upload: Upload, model: str) -> None:
    """Raise Conflict while a job that waits or runs needs it."""
    if used_by := users(session, model):
        raise Conflict(
            f"Upload {upload.name} is used by {', '.join(used_by[:3])}.",
            f"Cancel first: `tunesmith cancel {used_by[0]}`.",
        )


def idle(session: Session, state: str, before: datetime) -> list[Upload]:
    """Those in a state that nobody has used since then, the oldest first."""
    query = select(Upload).where(Upload.state == state, col(Upload.used_at) < before)
    return list(session.exec(query.order_by(col(Upload.used_at))))


def known(session: Session, ids: Sequence[str]) -> set[str]:
    """Which of these ids have a row."""
    if not ids:
        return set()
    return set(session.exec(select(Upload.id).where(col(Upload.id).in_(ids))))
