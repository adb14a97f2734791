"""Changes of as many records as there may be, some hundred in a transaction: others write between two of them.

Whatever breaks off on the way, what was changed stays so, and the same again does the rest.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Delete, Engine, Update, delete, false, update
from sqlmodel import col, select

from tuner.db.engine import write
from tuner.db.models import Record
from tuner.db.records import matching

ROWS = 500  # a tenth of a second, where all their indexes are changed with them
_PAUSE_SEC = 0.01


def delete_all(engine: Engine, workload_id: str | None, family: str | None, job_id: str | None, failed: bool) -> int:
    """Delete records, with ``failed`` failed ones only; returns how many."""
    return _change(engine, delete(Record), matching(workload_id, family, job_id, True if failed else None))


def reopen(engine: Engine, workload_id: str | None, family: str | None, job_id: str | None) -> int:
    """Let candidates that failed be tried again as if they were new; what is known of them stays. Returns how many."""
    conditions = [*matching(workload_id, family, job_id, True), col(Record.superseded) == false()]
    return _change(engine, update(Record).values(superseded=True), conditions)


def leave_job(engine: Engine, job_id: str) -> int:
    """Let the records of a job be nobody's; returns how many."""
    return _change(engine, update(Record).values(job_id=None), matching(job_id=job_id))


def _change(engine: Engine, change: Update | Delete, of: Sequence[ColumnElement[bool]]) -> int:
    """Do it to records until none fits the conditions any more, which those that were changed do not."""
    some = select(Record.id).where(*of).limit(ROWS)
    changed = 0
    while True:
        began = time.monotonic()
        with write(engine) as session:
            # By their ids: the rows of a query with a limit are found once.
            ids = session.exec(some).all()
            if ids:
                session.connection().execute(change.where(col(Record.id).in_(ids)))
        changed += len(ids)
        if len(ids) < ROWS:
            return changed
        # Whoever waits for the database looks for it now and then: it is free at least half of the time.
        time.sleep(max(_PAUSE_SEC, time.monotonic() - began))
