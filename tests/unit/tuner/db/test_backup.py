"""A copy of the database is whole, or not there."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from tuner.config import Settings
from tuner.db import backup, migrate
from tuner.errors import StorageFull


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with a row in it."""
    path = tmp_path / "tunesmith.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE cake AS SELECT 'years of work' AS chapter")
        connection.commit()
    return path


def test_the_copy_holds_what_the_file_held(path: Path) -> None:
    copy = backup.back_up(path)
    assert sorted(file.name for file in path.parent.iterdir()) == sorted([copy.name, "tunesmith.db"])
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT chapter FROM cake").fetchall() == [("years of work",)]


class Breaks:
    """A connection to a database whose copying fails half-way."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(b"SQLite format 3\0 and no more")

    def close(self) -> None:
        pass

    def backup(self, target: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")


def test_half_a_copy_is_not_left(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "connect", Breaks)
    with pytest.raises(sqlite3.OperationalError):
        backup.back_up(path)
    assert [file.name for file in path.parent.iterdir()] == ["tunesmith.db"]


def test_what_a_kill_left_of_a_copy_is_in_nobodys_way(path: Path) -> None:
    path.with_name("tunesmith-backup.db.part").write_text("half of it")
    assert backup.back_up(path).stat().st_size > 1000
    assert len(list(path.parent.iterdir())) == 2


@pytest.mark.parametrize(("free_of", "refused"), [(2.9, True), (3.1, False)])
def test_an_upgrade_wants_three_times_the_file_free(
    path: Path, monkeypatch: pytest.MonkeyPatch, free_of: float, refused: bool
) -> None:
    free = int(free_of * path.stat().st_size)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2 * free, free, free))
    if refused:
        with pytest.raises(StorageFull, match="MiB are free"):
            backup.check_space(path)
    else:
        backup.check_space(path)


def test_an_upgrade_that_finds_no_room_changes_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate.upgrade(settings)
    before = (settings.root / "tunesmith.db").read_bytes()
    monkeypatch.setattr(migrate, "head", lambda: "9999")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10, 9, 1))
    with pytest.raises(StorageFull, match="upgrade"):
        migrate.upgrade(settings)
    assert (settings.root / "tunesmith.db").read_bytes() == before
    assert [file.name for file in settings.root.glob("*backup*")] == []
