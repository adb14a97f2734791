"""What a person hears who has a device run an artifact."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any, cast

import pytest

from tests.support.samples import artifact
from tuner.cli import checking
from tuner.client.http import Client
from tuner.errors import Conflict
from tuner.schemas import ArtifactOut, CheckState, DeviceCheckOut

NOW = datetime(2026, 11, 27, tzinfo=timezone.utc)
FOUND: dict[CheckState, dict[str, Any]] = {
    "wanted": {},
    "running": {},
    "loaded": {"machine": "Apple M1", "median_ms": 15.23},
    "failed": {"error": "no symbol _cblas_sgemm"},
}


def check(state: CheckState) -> DeviceCheckOut:
    ended = NOW if state in ("loaded", "failed") else None
    return DeviceCheckOut(device="m1-cpu", state=state, found=FOUND[state], asked_at=NOW, ended_at=ended)


class Service:
    """Shows the artifact's check as it goes on."""

    def __init__(self, *states: CheckState) -> None:
        self._states: Iterator[CheckState] = iter(states)

    def artifact(self, _: str) -> ArtifactOut:
        return artifact(b"", "0").model_copy(update={"checks": [check(next(self._states))]})


def awaited(*states: CheckState, seconds: float = 60.0) -> tuple[DeviceCheckOut, list[str]]:
    heard: list[str] = []
    client = cast(Client, Service(*states))
    until = time.monotonic() + seconds
    return checking._awaited(client, artifact(b"", "0"), "m1-cpu", until, heard.append), heard


@pytest.fixture(autouse=True)
def without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "_ASK_EVERY_SEC", 0.0)


def test_it_is_told_how_far_it_is_and_what_came_of_it() -> None:
    found, heard = awaited("wanted", "running", "loaded")
    assert heard == ["to be checked on m1-cpu", "being checked on m1-cpu"]
    assert found.words == "loaded and run on Apple M1: 15.2 ms"
    assert awaited("failed")[0].words == "failed on m1-cpu: no symbol _cblas_sgemm"


def test_who_waits_too_long_is_told_where_to_look() -> None:
    with pytest.raises(Conflict, match="still to be checked on m1-cpu") as told:
        awaited("wanted", seconds=0.0)
    assert "tunesmith artifacts --job" in told.value.hint
