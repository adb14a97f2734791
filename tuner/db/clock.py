"""The time by the database's clock: one truth for all hosts that write to it.

A SQLite file has no clock but its host's; Postgres has the server's.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlmodel import Session

from tuner.db.types import UtcTime

SQLITE_FUNCTION = "utc_now"  # the engine gives SQLite this function


class Now(FunctionElement[datetime]):
    """The present, as an expression of SQL: what stamps a row that is inserted."""

    type = UtcTime()
    inherit_cache = True


@compiles(Now)
def _on_sqlite(_element: Now, _compiler: Any, **_kwargs: Any) -> str:
    return f"{SQLITE_FUNCTION}()"


@compiles(Now, "postgresql")
def _on_postgres(_element: Now, _compiler: Any, **_kwargs: Any) -> str:
    return "clock_timestamp()"  # now() is when the transaction began: before it waited for the other writers


def now(session: Session) -> datetime:
    """What time it is, in UTC."""
    return session.execute(select(Now())).scalar_one()


def sqlite_now() -> str:
    """The host's time as SQLAlchemy stores it in SQLite."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")
