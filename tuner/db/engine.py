"""The database engine and the two ways to use it: ``read`` and ``write``, alike on SQLite and on Postgres."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlmodel import Session

from tuner.config import Settings
from tuner.db import dialects, parameters
from tuner.db.dialects import BUSY_TIMEOUT_MS
from tuner.errors import Busy, StorageFailed, StorageFull

_NEXT_TO_NOTHING_BYTES = 256 * 1024
_BUSY = ("database is locked", "due to lock timeout")
_FULL = ("database or disk is full", "no space left on device")
_FAILED = (
    "disk i/o error",
    "disk image is malformed",
    "attempt to write a readonly database",
    "unable to open database",
)


def make_engine(settings: Settings, connections: int = 5) -> Engine:
    """The engine for ``settings.db_url``; makes the folder of a SQLite file if it is missing.

    ``connections`` are kept; a few more are made when more threads want one at once.
    """
    url = make_url(settings.db_url)
    is_sqlite = url.get_backend_name() == "sqlite"
    if is_sqlite and url.database:
        with storage(settings.root):
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, json_serializer=parameters.to_json, pool_pre_ping=not is_sqlite, pool_size=connections)
    dialects.prepare(engine)
    event.listen(engine, "handle_error", _name_trouble)
    return engine


def sqlite_path(settings: Settings) -> Path | None:
    """The database's file; None where it is none."""
    url = make_url(settings.db_url)
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def shown_url(settings: Settings) -> str:
    """The database's URL for people to read: without its password, which may be among the parameters too."""
    return make_url(settings.db_url).set(query={}).render_as_string(hide_password=True)


@contextmanager
def read(engine: Engine) -> Iterator[Session]:
    """A session that sees one consistent snapshot and writes nothing; its rows stay usable afterwards."""
    with Session(engine, expire_on_commit=False) as session:
        yield session


@contextmanager
def write(engine: Engine) -> Iterator[Session]:
    """One short write transaction: commits at the end, rolls back on an exception. Raises StorageFull on a full disk.

    The lock that all writers share comes before the first statement: what was read is still true when it commits, and
    events are seen in the order of their ids.
    """
    with storage(engine.url.database), engine.connect() as connection:
        connection.execution_options(immediate=True)
        with Session(connection, expire_on_commit=False) as session, session.begin():
            yield session


@contextmanager
def storage(where: object) -> Iterator[None]:
    """Raises StorageFull for a disk that gets full in the block."""
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise storage_full(where) from exc
        raise


def storage_full(where: object) -> StorageFull:
    """The error for a disk that has no space left at ``where``."""
    return StorageFull(
        f"No space is left on the disk that holds {where}.",
        "Free some space (`df -h` shows how full it is), then try again; or start with --data-dir on another disk.",
    )


def _name_trouble(context: ExceptionContext) -> None:
    where = str(context.engine.url.database if context.engine else "")
    said = str(context.original_exception)
    if any(text in said.lower() for text in _BUSY):
        raise Busy(f"Others have been writing to the database for {BUSY_TIMEOUT_MS / 1000:g} s.", "Try again.")
    failed = any(text in said.lower() for text in _FAILED)
    if any(text in said.lower() for text in _FULL) or (failed and _is_full(where)):
        raise storage_full(where)
    if failed:
        raise StorageFailed(
            f"{where} can't be read or written: {said}.",
            "Look at its disk (`dmesg` tells of errors) and at who may write there; `tunesmith doctor` looks as well.",
        )


def _is_full(path: str) -> bool:
    """Is there no space left? SQLite calls it an I/O error where it is a file of its own that finds none."""
    try:
        return shutil.disk_usage(Path(path).parent).free < _NEXT_TO_NOTHING_BYTES
    except OSError:
        return False
