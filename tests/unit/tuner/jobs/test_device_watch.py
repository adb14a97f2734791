"""The device table follows the tracker."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine

from rpc.versions import PINS
from tests.support.processes import free_port
from tuner.db import clock, devices, events
from tuner.db.engine import read, write
from tuner.db.models import Device
from tuner.jobs.device_watch import LOOK_EVERY_SEC, MAX_CRASHES, REST_SEC, DeviceWatch, ask_tracker

FACTS = {"cpu": "a fine one", "cores": 2}


class Tracker:
    """A summary that tests write."""

    def __init__(self) -> None:
        self.asked = 0
        self.free: dict[str, int] = {}
        self.facts: dict[str, Any] = FACTS

    def summary(self) -> dict[str, Any]:
        self.asked += 1
        return {
            "server_info": [
                {"key": f"server:{key}", "addr": ["127.0.0.1", 1], "facts": self.facts} for key in self.free
            ],
            "queue_info": {key: {"free": free, "pending": 0} for key, free in self.free.items()},
        }


@pytest.fixture
def tracker() -> Tracker:
    return Tracker()


@pytest.fixture
def watch(engine: Engine, tracker: Tracker) -> DeviceWatch:
    return DeviceWatch(engine, tracker.summary, "local", "127.0.0.1:9190")


def test_what_a_person_builds_here_is_waited_for_on_this_machine_alone(engine: Engine, tracker: Tracker) -> None:
    is_building = True
    watch = DeviceWatch(engine, tracker.summary, "local", "127.0.0.1:9190", lambda: is_building)
    tracker.free = {"local": 1, "m1-cpu": 1}
    watch.look(0.0)
    assert "tunesmith compile" in watch.problem("local")
    assert watch.problem("m1-cpu") == ""
    is_building = False
    watch.look(LOOK_EVERY_SEC)
    assert watch.problem("local") == ""


def table(engine: Engine) -> dict[str, str]:
    with read(engine) as session:
        return {device.key: device.state for device in devices.find(session)}


def test_a_device_comes_is_busy_and_goes(engine: Engine, tracker: Tracker, watch: DeviceWatch) -> None:
    found = []
    for now, free in enumerate([{"local": 1}, {"local": 0}, {}]):
        tracker.free = free
        watch.look(now * 10.0)
        found.append((table(engine)["local"], watch.count("local")))
    assert found == [("online", 1), ("busy", 1), ("offline", 0)]
    with read(engine) as session:
        assert devices.find(session)[0].facts == FACTS
        told = [event.data["state"] for event in events.since(session, 0, kind="device")]
    assert told == ["online", "offline"]


def test_a_measured_peak_outlives_what_the_device_tells(engine: Engine, tracker: Tracker, watch: DeviceWatch) -> None:
    peak = {"gflops": 530.0, "gb_per_sec": 42.0}
    tracker.free = {"local": 1}
    watch.look(0.0)
    with write(engine) as session:
        devices.put_peak(session, "local", peak)
    watch.look(10.0)
    tracker.free = {"local": 0}
    watch.look(20.0)
    with read(engine) as session:
        (device,) = devices.find(session)
        assert device.facts == {**FACTS, "peak": {**peak, "measured_on": clock.now(session).date().isoformat()}}
        assert devices.told(device) == FACTS


@pytest.mark.parametrize(
    "lies",
    [
        "a text",
        ["a", "list"],
        {"threads": "many", "mcpu": "znver5", "mtriple": "x86_64"},
        {"threads": 2, "mcpu": "znver5"},
        {"threads": 10**9, "mcpu": "znver5", "mtriple": "x86_64"},
        {"cpu": "x" * 10_000},
        {"cuda": {"name": "a GPU"}},
        {"anything": {"deep": {"er": 1}}},
        {str(n): n for n in range(1000)},
    ],
)
def test_a_peer_that_tells_what_can_not_be_gets_no_work_and_harms_nobody(
    engine: Engine, tracker: Tracker, watch: DeviceWatch, lies: Any
) -> None:
    tracker.free, tracker.facts = {"local": 1}, lies
    watch.look(0.0)
    assert table(engine) == {"local": "incompatible"}
    assert watch.count("local") == 0
    assert "what can't be" in watch.problem("local")
    with read(engine) as session:
        assert devices.find(session)[0].facts == {}


def test_a_peak_is_measured_here_and_not_told(engine: Engine, tracker: Tracker, watch: DeviceWatch) -> None:
    tracker.free, tracker.facts = {"local": 1}, {**FACTS, "peak": {"gflops": 1e9}}
    watch.look(0.0)
    with read(engine) as session:
        assert devices.find(session)[0].facts == FACTS


def test_of_two_measured_peaks_the_higher_is_kept(engine: Engine) -> None:
    with write(engine) as session:
        devices.seen(session, "local", facts=FACTS)
        session.flush()
        devices.put_peak(session, "local", {"gflops": 530.0, "gb_per_sec": 40.0})
        devices.put_peak(session, "local", {"gflops": 265.0, "gb_per_sec": 42.0})
        peak = devices.find(session)[0].facts["peak"]
    assert (peak["gflops"], peak["gb_per_sec"]) == (530.0, 42.0)


def test_another_processor_has_another_peak(engine: Engine) -> None:
    with write(engine) as session:
        devices.seen(session, "local", facts=FACTS)
        devices.put_peak(session, "local", {"gflops": 530.0, "gb_per_sec": 42.0})
        devices.seen(session, "local", facts={**FACTS, "cpu": "a finer one"})
    with read(engine) as session:
        assert "peak" not in devices.find(session)[0].facts


def test_the_tracker_is_not_asked_more_often_than_needed(tracker: Tracker, watch: DeviceWatch) -> None:
    watch.look(100.0)
    watch.look(100.0 + LOOK_EVERY_SEC / 2)
    assert tracker.asked == 1
    watch.look(100.0 + LOOK_EVERY_SEC)
    assert tracker.asked == 2


def test_a_device_that_is_missing_is_named_with_what_to_do(watch: DeviceWatch) -> None:
    watch.look(0.0)
    assert "waiting for a device of local" in watch.problem("local")
    assert "tunesmith doctor" in watch.problem("local")
    assert watch.problem("m1-metal") == (
        "waiting for a device of m1-metal; start one with: tunesmith agent --tracker 127.0.0.1:9190 --key m1-metal"
    )


def test_a_device_with_another_tvm_gets_no_work_and_both_versions_are_named(
    engine: Engine, tracker: Tracker, watch: DeviceWatch
) -> None:
    tracker.free, tracker.facts = {"m1-cpu": 1}, {**FACTS, "tvm": "0.26.0"}
    watch.look(0.0)
    assert table(engine) == {"m1-cpu": "incompatible"}
    assert watch.count("m1-cpu") == 0
    assert "0.26.0" in watch.problem("m1-cpu")
    assert f"pip install apache-tvm=={PINS['apache-tvm']}" in watch.problem("m1-cpu")
    tracker.facts = {**FACTS, "tvm": PINS["apache-tvm"]}
    watch.look(10.0)
    assert (table(engine), watch.problem("m1-cpu")) == ({"m1-cpu": "online"}, "")
    tracker.free, tracker.facts = {"m1-cpu": 1}, {**FACTS, "tvm": "0.28.0"}
    watch.look(20.0)
    tracker.free = {}
    watch.look(30.0)
    assert table(engine) == {"m1-cpu": "offline"}
    with read(engine) as session:
        told = [event.data["state"] for event in events.since(session, 0, kind="device")]
    assert told == ["incompatible", "online", "incompatible", "offline"]


def test_a_silent_device_is_left_alone_for_a_while(tracker: Tracker, watch: DeviceWatch) -> None:
    tracker.free = {"local": 1}
    watch.look(0.0)
    watch.note_silence("local", "no answer in 30 s", 0.0)
    assert "no answer in 30 s" in watch.problem("local")
    watch.look(REST_SEC + 1)
    assert watch.problem("local") == ""


def test_crashes_in_a_row_quarantine_a_device_until_it_is_released(
    engine: Engine, tracker: Tracker, watch: DeviceWatch
) -> None:
    tracker.free = {"local": 1}
    watch.look(0.0)
    crash(engine, watch, MAX_CRASHES - 1)
    assert watch.problem("local") == ""
    crash(engine, watch, 1)
    watch.look(10.0)
    assert table(engine) == {"local": "quarantined"}
    assert watch.count("local") == 0
    assert "out of use" in watch.problem("local")
    watch.release_all()
    watch.look(20.0)
    assert (table(engine), watch.problem("local")) == ({"local": "online"}, "")


def test_a_round_that_worked_forgives_the_crashes_before_it(
    engine: Engine, tracker: Tracker, watch: DeviceWatch
) -> None:
    tracker.free = {"local": 1}
    watch.look(0.0)
    crash(engine, watch, MAX_CRASHES - 1)
    with write(engine) as session:
        watch.note_round(session, "local", crashed=False)
    crash(engine, watch, MAX_CRASHES - 1)
    with read(engine) as session:
        assert session.get_one(Device, "local").state == "online"


def test_a_tracker_that_is_not_there_knows_no_devices() -> None:
    assert ask_tracker("127.0.0.1", free_port()) == {}
    assert ask_tracker("127.0.0.1", None) == {}


def crash(engine: Engine, watch: DeviceWatch, times: int) -> None:
    for _ in range(times):
        with write(engine) as session:
            watch.note_round(session, "local", crashed=True)


def test_a_missing_device_comes_with_the_command_that_starts_it(engine: Engine, tracker: Tracker) -> None:
    watch = DeviceWatch(engine, tracker.summary, tracker_address="127.0.0.1:9190")
    watch.look(0.0)
    start = "start one with: tunesmith agent --tracker 127.0.0.1:9190 --key m1-metal"
    assert watch.problem("m1-metal") == f"waiting for a device of m1-metal; {start}"
