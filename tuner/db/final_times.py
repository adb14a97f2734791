"""Times that finals took, kept by what was timed: the same kernels on the same device need no second look soon."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete
from sqlmodel import Session, col

from tuner.db import clock
from tuner.db.models import FinalTimes

KEPT_FOR = timedelta(days=7)  # a machine's software and neighbours change


def find(session: Session, key: str) -> FinalTimes | None:
    """What was timed under this key, unless that was too long ago."""
    row = session.get(FinalTimes, key)
    return row if row is not None and row.created_at > clock.now(session) - KEPT_FOR else None


def keep(session: Session, row: FinalTimes) -> None:
    """Keep what was timed in the place of what was known, and let go of what is old. Call within ``write``."""
    old = col(FinalTimes.created_at) <= clock.now(session) - KEPT_FOR
    session.execute(delete(FinalTimes).where((col(FinalTimes.key) == row.key) | old))
    session.add(row)
