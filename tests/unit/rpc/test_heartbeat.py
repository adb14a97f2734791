"""A heartbeat tells its age, whatever the clock on the wall says, and nothing before its first beat."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from rpc.heartbeat import Heartbeat, age_sec


def test_age_counts_from_the_last_beat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run" / "beat"
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    heart = Heartbeat(path)
    assert age_sec(path) is None
    heart.beat()
    now = 103.5
    assert age_sec(path) == 3.5
    heart.beat()
    assert age_sec(path) == 0.0
    heart.close()


def test_successor_begins_without_the_beats_of_its_predecessor(tmp_path: Path) -> None:
    first = Heartbeat(tmp_path / "beat")
    first.beat()
    first.close()
    second = Heartbeat(tmp_path / "beat")
    assert age_sec(tmp_path / "beat") is None
    second.close()


def test_beat_of_a_machine_that_has_been_started_since_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heart = Heartbeat(tmp_path / "beat")
    heart.beat()
    heart.close()
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    assert age_sec(tmp_path / "beat") is None


def test_no_file_is_no_beat(tmp_path: Path) -> None:
    assert age_sec(tmp_path / "beat") is None
