"""Whoever imports leaves room for others, and waits for its own turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from tests.support.rows import add_job, make_record, make_workload
from tuner.config import Settings
from tuner.db import dialects, intake, log, records
from tuner.db.engine import make_engine, read, write
from tuner.db.log_line import line_of
from tuner.errors import Busy

pytestmark = pytest.mark.both_databases


@pytest.fixture
def hasty(engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """The database, for somebody who waits for others for half a second only."""
    monkeypatch.setattr(dialects, "BUSY_TIMEOUT_MS", 500)
    hasty = make_engine(settings)
    yield hasty
    hasty.dispose()


def _log(count: int) -> list[bytes]:
    return [line_of(make_record(f"c{n}", 1e-3), make_workload(), n == 0).encode() for n in range(count)]


def test_others_write_while_a_log_is_imported(engine: Engine, settings: Settings) -> None:
    others = make_engine(settings)
    turns = list[Connection]()
    event.listen(engine, "commit", turns.append)
    importing = threading.Thread(target=log.import_lines, args=(engine, _log(2000)))
    importing.start()
    while importing.is_alive():
        with write(others) as session:
            add_job(session)
        time.sleep(0.01)  # who writes without a pause leaves SQLite's other writers no turn
    importing.join()
    others.dispose()
    assert len(turns) >= 20
    with read(engine) as session:
        assert records.find(session).total == 2000


def test_an_import_waits_for_its_turn(engine: Engine, hasty: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, in_vain = threading.Event(), threading.Event()
    try_once = intake._write_once

    def note_what_was_in_vain(*of: Any) -> int:
        try:
            return try_once(*of)
        except Busy:
            in_vain.set()
            raise

    def hold() -> None:
        with write(engine) as session:
            add_job(session)
            begun.set()
            in_vain.wait(60)

    monkeypatch.setattr(intake, "_write_once", note_what_was_in_vain)
    holding = threading.Thread(target=hold)
    holding.start()
    begun.wait()
    assert log.import_lines(hasty, _log(10)).imported == 10
    assert in_vain.is_set()
    holding.join()


def test_who_waits_too_long_for_the_database_is_told_that_it_is_busy(engine: Engine, hasty: Engine) -> None:
    with write(engine) as session:
        add_job(session)
        with pytest.raises(Busy, match="Others have been writing"), write(hasty) as other:
            add_job(other)
