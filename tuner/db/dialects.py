"""How a connection to each kind of database is prepared, and how its transactions begin.

Who asks for ``immediate`` is alone until it commits, among all processes and hosts; everybody else reads one snapshot.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, event

from tuner.db import clock, parameters

BUSY_TIMEOUT_MS = 15_000  # how long one waits for the writer before
_WAL_PAGES = 16_000  # 64 MB: a round writes some 250, many again in the next, and so waits for the disk less often
_WRITERS_LOCK = int.from_bytes(b"tunesmit", "big")  # among the advisory locks of a Postgres database


def prepare(engine: Engine) -> None:
    """Give an engine all that it needs before its first connection."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "connect", _configure_postgres)
        event.listen(engine, "begin", _begin_postgres)
    event.listen(engine, "before_cursor_execute", _fit_parameters, retval=True)


def _configure_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver's own BEGIN comes too late: ours is sent in _begin_sqlite
    connection.create_function(clock.SQLITE_FUNCTION, 0, clock.sqlite_now)
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=NORMAL",
        f"wal_autocheckpoint={_WAL_PAGES}",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if _is_write(connection) else "BEGIN")


def _configure_postgres(connection: Any, _record: object) -> None:
    connection.execute(f"SET lock_timeout = {BUSY_TIMEOUT_MS}")
    connection.commit()


def _begin_postgres(connection: Connection) -> None:
    if _is_write(connection):
        # Of READ COMMITTED: a snapshot would be taken here, before it is our turn.
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS_LOCK})")
    else:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


def _is_write(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get("immediate", False))


def _fit_parameters(
    _connection: Connection, _cursor: object, statement: str, values: Any, _context: object, _many: bool
) -> tuple[str, Any]:
    return statement, parameters.fit(values)
