from __future__ import annotations

import os
from pathlib import Path

import pytest

from tuner.importers.shelf import ABOUT, Kept, kept, note_use, remove, surplus

NOW = 1_000_000.0
LONG_AGO = NOW - 36_000.0


def one(key: str, size_bytes: int = 10, used_at: float = LONG_AGO) -> Kept:
    return Kept(key, size_bytes, used_at)


@pytest.mark.parametrize(
    ("budget_bytes", "gone"),
    [(100, ""), (30, ""), (29, "a"), (20, "a"), (19, "ab"), (0, "abc")],
)
def test_what_was_used_longest_ago_goes_until_the_rest_fits(budget_bytes: int, gone: str) -> None:
    found = [one("b", used_at=LONG_AGO + 1), one("c", used_at=LONG_AGO + 2), one("a")]
    assert "".join(entry.key for entry in surplus(found, budget_bytes, NOW)) == gone


def test_what_was_used_since_then_stays_whatever_room_there_is() -> None:
    found = [one("used", used_at=NOW + 1), one("old")]
    assert [entry.key for entry in surplus(found, 0, NOW)] == ["old"]


def test_what_is_needed_stays_whatever_room_there_is() -> None:
    assert [entry.key for entry in surplus([one("a"), one("b")], 0, NOW, {"a"})] == ["b"]


def test_imports_are_found_by_their_names_and_their_last_file(tmp_path: Path) -> None:
    whole, half, foreign = tmp_path / ("a" * 20), tmp_path / ("b" * 20), tmp_path / "thesis"
    for folder in (whole, half, foreign):
        folder.mkdir()
        (folder / "params.safetensors").write_bytes(b"x" * 90)
    for folder in (whole, foreign):
        (folder / ABOUT).write_bytes(b"x" * 10)
    (tmp_path / ("c" * 20)).symlink_to(whole)
    assert [(entry.key, entry.size_bytes) for entry in kept(tmp_path)] == [("a" * 20, 100)]
    assert kept(tmp_path / "nowhere") == []


def test_using_an_import_is_noted(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 20)
    folder.mkdir()
    (folder / ABOUT).touch()
    os.utime(folder / ABOUT, (LONG_AGO, LONG_AGO))
    assert kept(tmp_path)[0].used_at == LONG_AGO
    note_use(tmp_path, folder.name)
    assert kept(tmp_path)[0].used_at > LONG_AGO


@pytest.fixture
def import_(tmp_path: Path) -> Kept:
    """An import that was used long ago."""
    about = tmp_path / ("a" * 20) / ABOUT
    about.parent.mkdir()
    about.touch()
    os.utime(about, (LONG_AGO, LONG_AGO))
    return kept(tmp_path)[0]


def test_a_removed_import_leaves_nothing(tmp_path: Path, import_: Kept) -> None:
    assert remove(tmp_path, import_)
    assert list(tmp_path.iterdir()) == []
    assert not remove(tmp_path, import_)


def test_an_import_that_is_used_just_before_it_would_go_stays(tmp_path: Path, import_: Kept) -> None:
    note_use(tmp_path, import_.key)
    assert not remove(tmp_path, import_)
    assert (tmp_path / import_.key / ABOUT).exists()
