"""What the process that fetches a model says, and when it goes on."""

from __future__ import annotations

import json

import pytest

from tuner.importers.fetch_process import Said, Teller


def test_each_piece_waits_for_a_gap_between_measurements(capsys: pytest.CaptureFixture[str]) -> None:
    told_before: list[str] = []
    tell = Teller(lambda: told_before.append(capsys.readouterr().out))
    tell(5, 10)
    tell(10, 10)
    assert told_before[0] == ""
    assert [Said.model_validate_json(text).done for text in (*told_before[1:], capsys.readouterr().out)] == [5, 10]


def test_progress_is_told_now_and_then_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    tell = Teller(lambda: None)
    for done in range(1, 1001):
        tell(done, 1000)
    said = [json.loads(line)["done"] for line in capsys.readouterr().out.splitlines()]
    assert (said[0], said[-1]) == (1, 1000)
    assert len(said) < 1000
