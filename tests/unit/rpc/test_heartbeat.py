"""A heartbeat tells its age, whatever the clock on the wall says, and nothing before its first beat."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from rpc.heartbeat import Beat, Heartbeat, last


def test_age_counts_from_the_last_beat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run" / "beat"
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    heart = Heartbeat(path)
    assert last(path) is None
    heart.beat("1 worker")
    now = 103.5
    assert last(path) == Beat(3.5, "1 worker")
    heart.beat()
    assert last(path) == Beat(0.0, "")
    heart.close()


def test_successor_begins_without_the_beats_of_its_predecessor(tmp_path: Path) -> None:
    first = Heartbeat(tmp_path / "beat")
    first.beat()
    first.close()
    second = Heartbeat(tmp_path / "beat")
    assert last(tmp_path / "beat") is None
    second.close()


def test_beat_of_a_machine_that_has_been_started_since_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heart = Heartbeat(tmp_path / "beat")
    heart.beat()
    heart.close()
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    assert last(tmp_path / "beat") is None


def test_note_is_cut_where_it_is_too_long(tmp_path: Path) -> None:
    heart = Heartbeat(tmp_path / "beat")
    heart.beat("ä" * 200)
    size = (tmp_path / "beat").stat().st_size
    assert (last(tmp_path / "beat") or Beat(0, "")).note == "ä" * 124
    heart.beat("short")
    assert (last(tmp_path / "beat") or Beat(0, "")).note == "short"
    assert (tmp_path / "beat").stat().st_size == size
    heart.close()


def test_no_file_is_no_beat(tmp_path: Path) -> None:
    assert last(tmp_path / "beat") is None
