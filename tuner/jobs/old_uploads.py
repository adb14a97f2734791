"""Uploads that go: given up on the way, not used for long, or without a row."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Engine
from sqlmodel import Session

from tuner.config import Settings
from tuner.db import clock, uploads
from tuner.db.engine import read, write
from tuner.db.models import Upload
from tuner.jobs.going import Going
from tuner.uploads import store
from tuner.uploads.desk import model_of


def to_go(settings: Settings, engine: Engine) -> list[Going]:
    """Those of which nothing came for hours, those that no job used for days, and folders that no row names."""
    folders = [folder.name for folder in settings.uploads_dir.glob("upl-*")]
    with read(engine) as session:
        due = _due(session, settings)
        known = uploads.known(session, folders)
    going = [Going("upload", one.id, one.size_bytes, f"{one.name}: {why}") for one, why in due]
    for folder in store.strays(settings.uploads_dir, known):
        going.append(Going("upload", folder.name, store.size_of(folder), "no row names it, for more than an hour"))
    return going


def remove(settings: Settings, engine: Engine, upload_id: str) -> bool:
    """Remove one of those; False when somebody has used it meanwhile."""
    with write(engine) as session:
        row = session.get(Upload, upload_id)
        if row is not None:
            if upload_id not in {one.id for one, _ in _due(session, settings)}:
                return False
            session.delete(row)
    store.remove(settings.uploads_dir / upload_id)
    return True


def _due(session: Session, settings: Settings) -> list[tuple[Upload, str]]:
    hours, days, now = settings.expire_uploads_hours, settings.keep_uploads_days, clock.now(session)
    given_up = f"nothing of it came for {hours:g} hours (TUNER_EXPIRE_UPLOADS_HOURS)"
    unused = f"no job used it for {days:g} days (TUNER_KEEP_UPLOADS_DAYS)"
    idle = uploads.idle(session, "complete", now - timedelta(days=days))
    return [
        *((one, given_up) for one in uploads.idle(session, "receiving", now - timedelta(hours=hours))),
        *((one, unused) for one in idle if not uploads.users(session, model_of(one))),
    ]
