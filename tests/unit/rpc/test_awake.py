"""A Mac stays awake while it is leased, by a program that a fake stands in for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rpc.awake import keep_awake, let_sleep

# It says what it was asked, and runs until it is told to end.
_FAKE = """#!/bin/sh
echo "$@" > "$0.asked"
exec sleep 600
"""


@pytest.fixture
def caffeinate(tmp_path: Path) -> Path:
    program = tmp_path / "caffeinate"
    program.write_text(_FAKE)
    program.chmod(0o755)
    return program


def test_it_is_kept_awake_until_the_session_ends(caffeinate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setenv("PATH", str(caffeinate.parent), prepend=":")
    process = keep_awake(4321)
    assert process is not None
    asked = caffeinate.with_name("caffeinate.asked")
    while not asked.exists() or not asked.read_text():
        assert process.poll() is None
    assert asked.read_text().split() == ["-i", "-s", "-w", "4321"]
    let_sleep(process)
    assert process.poll() is not None


def test_elsewhere_and_without_the_program_nothing_is_started(
    caffeinate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(caffeinate.parent), prepend=":")
    assert keep_awake(1) is None or sys.platform == "darwin"
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert keep_awake(1) is None
    assert keep_awake(1, str(tmp_path / "gone")) is None
    let_sleep(None)
