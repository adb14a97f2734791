from __future__ import annotations

import os
import resource
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from tests.support.rows import add_job
from tuner.config import Settings
from tuner.db import jobs
from tuner.db.engine import read, shown_url, write
from tuner.errors import StorageFailed, StorageFull


def test_sqlite_is_opened_with_wal_and_foreign_keys(engine: Engine) -> None:
    with read(engine) as session:
        values = {
            name: session.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "foreign_keys", "synchronous")
        }
    assert values == {"journal_mode": "wal", "foreign_keys": 1, "synchronous": 1}


def test_a_full_database_is_storage_full_and_says_where(engine: Engine) -> None:
    def outgrow() -> None:
        with write(engine) as session:
            pages = session.execute(text("PRAGMA page_count")).scalar()
            session.execute(text(f"PRAGMA max_page_count={pages}"))
            add_job(session, message="x" * 1_000_000)

    with pytest.raises(StorageFull, match=r"tunesmith\.db") as caught:
        outgrow()
    assert "df -h" in caught.value.hint


@pytest.fixture
def failing_disk() -> Iterator[None]:
    """A file system that takes no more than 64 KiB a file: to SQLite a write that fails for no known reason."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_failing_disk_is_not_called_full(engine: Engine, failing_disk: None) -> None:
    def outgrow() -> None:
        with write(engine) as session:
            add_job(session, message="x" * 1_000_000)

    with pytest.raises(StorageFailed, match=r"tunesmith\.db.*: disk I/O error") as caught:
        outgrow()
    assert "dmesg" in caught.value.hint


def test_a_damaged_file_is_named(engine: Engine, settings: Settings) -> None:
    os.truncate(settings.root / "tunesmith.db", 5000)
    with pytest.raises(StorageFailed, match=r"tunesmith\.db.*malformed"), read(engine) as session:
        jobs.find(session)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://tunesmith:SECRET@db.example:5433/tunes",
        "postgresql+psycopg://tunesmith@db.example:5433/tunes?password=SECRET&sslmode=require",
    ],
)
def test_what_is_shown_of_a_database_is_not_its_password(url: str) -> None:
    settings = Settings(database_url=url)
    assert "db.example:5433/tunes" in shown_url(settings)
    assert "SECRET" not in shown_url(settings) + repr(settings) + str(settings)
