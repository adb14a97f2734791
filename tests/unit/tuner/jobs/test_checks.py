"""Artifacts that no device has run are run by the first of their kind that joins, and by whom people ask for."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine

from tests.support.rows import add_job
from tests.unit.tuner.jobs.test_device_watch import Tracker
from tuner.config import Settings
from tuner.db import device_checks, devices, jobs
from tuner.db.engine import read, write
from tuner.db.models import Artifact, DeviceCheck
from tuner.errors import InvalidInput
from tuner.jobs.checks import GIVE_EVERY_SEC, MOST_SEC, Checks
from tuner.jobs.device_watch import DeviceWatch
from tuner.jobs.leadership import Leadership
from tuner.schemas import CheckState

KEY = "m1-cpu"
LATENCY = {"machine": "Apple M1", "median_ms": 15.2}


class FakeChild:
    """A process that ends when it is told to."""

    def __init__(self, artifact_id: str, device_key: str) -> None:
        self.of = artifact_id, device_key
        self.alive = True

    def end(self) -> None:
        self.alive = False


class Fleet:
    """The checks of a service with one tracker, pass after pass."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self.engine, self.tracker, self.now = engine, Tracker(), 0.0
        self.children: list[FakeChild] = []
        self.devices = DeviceWatch(engine, self.tracker.summary, "local")
        self._lead = Leadership(engine, "one", lambda: self.now)
        self.checks = Checks(settings, engine, self._lead, self.devices, self._start)

    def _start(self, artifact_id: str, device_key: str) -> FakeChild:
        self.children.append(FakeChild(artifact_id, device_key))
        return self.children[-1]

    def turn(self, seconds: float = 3.0) -> None:
        self.now += seconds
        assert self._lead.take()
        self.devices.look(self.now)
        self.checks.look(self.now)

    def answer(self, state: CheckState, found: dict[str, Any]) -> None:
        """What the process that runs writes before it ends."""
        child = self.children[-1]
        with write(self.engine) as session:
            device_checks.set_state(session, *child.of, state, found)
        child.alive = False

    def check(self, artifact_id: str) -> DeviceCheck | None:
        with read(self.engine) as session:
            return device_checks.get(session, artifact_id, KEY)


@pytest.fixture
def fleet(settings: Settings, engine: Engine) -> Fleet:
    return Fleet(settings, engine)


def compiled(engine: Engine, name: str, target: str = KEY, only: bool = True) -> str:
    """An artifact that was compiled for a target, or tuned; its job's id."""
    manifest = {"load_check": "symbols", "tested": "not load-tested on a Mac"}
    with write(engine) as session:
        job = add_job(session, "succeeded", target=target, compile_only=only, artifact_id=name)
        row = Artifact(id=name, job_id=job.id, path=f"{name}.tar", size_bytes=1, sha256="0", manifest=manifest)
        session.add(row)
        return job.id


def test_what_was_compiled_for_a_kind_is_run_by_the_first_device_of_it(fleet: Fleet, engine: Engine) -> None:
    job_id = compiled(engine, "art-1")
    compiled(engine, "art-of-a-gpu", target="m1-metal")
    compiled(engine, "art-tuned", only=False)
    fleet.turn()
    assert fleet.children == []
    fleet.tracker.free[KEY] = 1
    fleet.turn()
    assert [child.of for child in fleet.children] == [("art-1", KEY)]
    fleet.answer("loaded", LATENCY)
    fleet.turn()
    assert len(fleet.children) == 1
    with read(engine) as session:
        (shown,) = device_checks.shown(session, [session.get_one(Artifact, "art-1")])
        evidence = jobs.evidence(session, job_id)
    assert (shown.tested, shown.runs) == ("loaded and run on Apple M1: 15.2 ms", True)
    assert (evidence["tested"], evidence["load_check"]) == (shown.tested, "device")
    assert shown.manifest["tested"] == "not load-tested on a Mac"  # what is published never changes


@pytest.mark.parametrize(
    "target",
    [
        '{"kind": "llvm", "mtriple": "arm64-apple-macos", "mcpu": "apple-m1", "num-cores": 2}',
        "llvm -mtriple=arm64-apple-macos -mcpu=apple-m1 -libs=accelerate",
    ],
)
def test_a_target_that_was_written_out_is_of_the_kind_that_it_is_most_like(
    fleet: Fleet, engine: Engine, target: str
) -> None:
    compiled(engine, "art-1", target=target)
    compiled(engine, "art-of-another", target=target.replace("apple-m1", "apple-m2"))
    fleet.tracker.free[KEY] = 1
    fleet.turn()
    assert [child.of for child in fleet.children] == [("art-1", KEY)]
    fleet.answer("loaded", LATENCY)
    fleet.turn()
    assert len(fleet.children) == 1


def test_one_after_the_other_and_each_once(fleet: Fleet, engine: Engine) -> None:
    names = {compiled(engine, name) and name for name in ("art-1", "art-2", "art-3")}
    fleet.tracker.free[KEY] = 1
    for number in range(3):
        fleet.turn()
        fleet.turn()
        assert len(fleet.children) == number + 1
        fleet.answer("loaded", LATENCY)
    fleet.tracker.free.clear()
    fleet.turn()
    fleet.tracker.free[KEY] = 1
    fleet.turn()
    assert {child.of[0] for child in fleet.children} == names
    assert len(fleet.children) == 3


def test_what_is_compiled_while_the_device_is_there_is_run_too(fleet: Fleet, engine: Engine) -> None:
    fleet.tracker.free[KEY] = 1
    fleet.turn()
    compiled(engine, "art-1")
    fleet.turn(GIVE_EVERY_SEC)
    assert [child.of for child in fleet.children] == [("art-1", KEY)]


def test_what_does_not_run_says_why_until_somebody_asks_again(fleet: Fleet, engine: Engine) -> None:
    job_id = compiled(engine, "art-1")
    fleet.tracker.free[KEY] = 1
    fleet.turn()
    fleet.answer("failed", {"error": "no symbol _cblas"})
    fleet.turn()
    with read(engine) as session:
        assert jobs.evidence(session, job_id)["tested"] == "failed on m1-cpu: no symbol _cblas"
        assert jobs.evidence(session, job_id)["load_check"] == "symbols"
    with write(engine) as session:
        device_checks.ask(session, "art-1", KEY)
    fleet.turn()
    assert len(fleet.children) == 2


def test_a_process_that_dies_or_hangs_is_no_riddle(fleet: Fleet, engine: Engine) -> None:
    compiled(engine, "art-1")
    fleet.tracker.free[KEY] = 1
    fleet.turn()
    fleet.children[-1].alive = False
    fleet.turn()
    row = fleet.check("art-1")
    assert row is not None
    assert (row.state, "ended without a word" in row.found["error"]) == ("failed", True)
    with write(engine) as session:
        device_checks.ask(session, "art-1", KEY)
    fleet.turn()
    fleet.turn(MOST_SEC + 1)
    row = fleet.check("art-1")
    assert row is not None
    assert (row.state, "took longer" in row.found["error"]) == ("failed", True)
    assert not fleet.children[-1].alive


def test_a_device_that_does_not_come_is_asked_again_later(fleet: Fleet, engine: Engine) -> None:
    compiled(engine, "art-1")
    fleet.tracker.free[KEY] = 1
    fleet.turn()
    fleet.answer("wanted", {})
    fleet.turn()
    assert len(fleet.children) == 1
    fleet.turn(60)
    assert len(fleet.children) == 2


def test_a_successor_goes_on_with_what_was_running(fleet: Fleet, settings: Settings, engine: Engine) -> None:
    compiled(engine, "art-1")
    fleet.tracker.free[KEY] = 1
    fleet.turn()
    fleet.checks.close()
    assert not fleet.children[0].alive
    fleet.turn()
    assert [child.of for child in fleet.children] == [("art-1", KEY)] * 2


def test_only_a_device_elsewhere_that_was_seen_can_be_asked(engine: Engine) -> None:
    with write(engine) as session:
        devices.seen(session, KEY)
        devices.seen(session, "local")
    with read(engine) as session:
        assert devices.known_other(session, KEY, "local").key == KEY
        with pytest.raises(InvalidInput, match="tunesmith run"):
            devices.known_other(session, "local", "local")
        with pytest.raises(InvalidInput, match="m1-cpu"):
            devices.known_other(session, "m2-cpu", "local")
