"""/readyz and `tunesmith doctor` say of each part whether it does its work, and what is wrong where it does not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from rpc import heartbeat
from rpc.heartbeat import Heartbeat
from tests.support.rows import utcnow
from tuner.cli import doctor
from tuner.config import Settings
from tuner.db import clock
from tuner.db.engine import write
from tuner.db.models import Device, Lease
from tuner.jobs.device_watch import SEEN_EVERY
from tuner.jobs.readiness import DEVICE_FRESH, PASS_MOST_SEC

Beat = Callable[..., None]


@pytest.fixture(autouse=True)
def frozen(monkeypatch: pytest.MonkeyPatch) -> float:
    """No time passes: what was some seconds ago still is when it is asked for. What the monotonic clock shows."""
    now, seconds = utcnow(), time.monotonic()
    monkeypatch.setattr(clock, "now", lambda _session: now)
    monkeypatch.setattr(heartbeat, "time", SimpleNamespace(monotonic=lambda: seconds))
    return seconds


@pytest.fixture
def beat(settings: Settings, frozen: float, monkeypatch: pytest.MonkeyPatch) -> Iterator[Beat]:
    """Notes a pass of the coordinator, some seconds ago."""
    heart = Heartbeat(settings.heartbeat_file)

    def note(ago_sec: float = 0.0, **found: Any) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(heartbeat, "time", SimpleNamespace(monotonic=lambda: frozen - ago_sec))
            heart.beat(json.dumps(found))

    yield note
    heart.close()


@pytest.fixture
def well(engine: Engine, beat: Beat) -> None:
    """All is there."""
    with write(engine) as session:
        session.add(Device(key="local"))
        session.add(Lease(name="coordinator", owner="me", expires_at=utcnow().replace(year=9000)))
    beat(workers=1)


def ready(client: TestClient) -> dict[str, str]:
    """What is not well; the status says whether anything is."""
    answer = client.get("/readyz")
    checks = answer.json()["checks"]
    assert set(checks) == {"database", "coordinator", "engine", "device", "disk"}
    wrong = {name: found for name, found in checks.items() if found != "ok"}
    assert answer.status_code == (503 if wrong else 200)
    return wrong


def test_nothing_that_was_never_there_is_ready(client: TestClient) -> None:
    assert set(ready(client)) == {"coordinator", "engine", "device"}
    assert client.get("/healthz").json()["status"] == "ok"


@pytest.mark.usefixtures("well")
def test_ready_means_that_every_part_works(client: TestClient) -> None:
    assert ready(client) == {}


@pytest.mark.usefixtures("well")
def test_coordinator_without_passes_is_not_ready_though_it_holds_the_lease(client: TestClient, beat: Beat) -> None:
    beat(ago_sec=PASS_MOST_SEC + 12, workers=1)
    wrong = ready(client)
    assert wrong["coordinator"].startswith("last finished a pass 42.0 s ago")
    assert set(wrong) == {"coordinator", "engine"}, "nobody knows how the engine is"


@pytest.mark.usefixtures("well")
@pytest.mark.parametrize(("workers", "said"), [(0, "0 of 1 workers"), (None, "does not answer")])
def test_engine_without_workers_is_not_ready(client: TestClient, beat: Beat, workers: int | None, said: str) -> None:
    beat(workers=workers)
    assert ready(client) == {"engine": said}


@pytest.mark.usefixtures("well")
def test_engine_of_another_coordinator_is_not_ours_to_judge(client: TestClient, beat: Beat) -> None:
    beat()
    assert ready(client) == {}


@pytest.mark.usefixtures("well")
def test_device_elsewhere_is_not_the_local_one(client: TestClient, engine: Engine) -> None:
    with write(engine) as session:
        session.delete(session.get_one(Device, "local"))
        session.add(Device(key="m1-cpu"))
    assert ready(client) == {"device": "'local' was never seen"}


@pytest.mark.usefixtures("well")
@pytest.mark.parametrize(
    ("state", "age", "said"),
    [
        ("online", DEVICE_FRESH, ""),
        ("busy", timedelta(0), ""),
        ("online", DEVICE_FRESH + timedelta(seconds=1), "was last seen 41 s ago"),
        ("online", 3 * SEEN_EVERY, "was last seen 60 s ago"),
        ("offline", timedelta(seconds=5), "was last seen 5 s ago"),
        ("quarantined", timedelta(0), "crashed 5 times in a row"),
    ],
)
def test_device_is_ready_as_long_as_it_is_noted_now_and_then(
    client: TestClient, engine: Engine, state: str, age: timedelta, said: str
) -> None:
    with write(engine) as session:
        device = session.get_one(Device, "local")
        device.state, device.last_seen = state, clock.now(session) - age
        session.add(device)
    wrong = ready(client)
    assert set(wrong) == ({"device"} if said else set())
    assert said in wrong.get("device", "")


@pytest.mark.usefixtures("well")
def test_doctor_shows_the_same_with_what_to_do(engine: Engine, settings: Settings, beat: Beat) -> None:
    found = {check.name: check for check in doctor.check_work(settings)}
    assert (found["engine"].ok, found["engine"].detail) == (True, "1 of 1 workers")
    assert found["coordinator"].ok
    assert "last finished a pass 0.0 s ago" in found["coordinator"].detail
    beat(workers=0)
    found = {check.name: check for check in doctor.check_work(settings)}
    assert (found["engine"].ok, found["engine"].detail) == (False, "0 of 1 workers")
    assert "engine.log" in found["engine"].hint
