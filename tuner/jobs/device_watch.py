"""Keeps the device table true to what the tracker says, and takes a device that keeps dying out of use."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session

from rpc import tracker
from rpc.versions import PINS
from tuner.db import clock, devices, events
from tuner.db.engine import read, write
from tuner.db.models import Device
from tuner.jobs.told import facts_in

LOOK_EVERY_SEC = 2.0
SEEN_EVERY = timedelta(seconds=20)  # last_seen of a device that does not change is written this often
MAX_CRASHES = 5
REST_SEC = 15.0  # before a device that is registered but did not answer is asked for again
_SUMMARY_TIMEOUT_SEC = 1.0
_PRESENT = ("online", "busy", "incompatible")
_TVM = PINS["apache-tvm"]
_QUARANTINED = (
    f"crashed {MAX_CRASHES} times in a row and is out of use; "
    "look at run/logs/device.log, then restart `tunesmith serve` to try it again"
)

Summary = dict[str, Any]


def ask_tracker(host: str, port: int | None) -> Summary:
    """The tracker's summary; empty when it can't be reached or there is none."""
    if port is None:
        return {}
    try:
        return tracker.summary(host, port, _SUMMARY_TIMEOUT_SEC)
    except OSError:
        return {}


class DeviceWatch:
    """What the coordinator knows of devices; ``ask`` gives the tracker's summary.

    ``own_key`` is the key of the device that the service starts itself; others are started on their machines, for the
    tracker at ``tracker_address``. ``is_building`` says whether a person's build disturbs the own one.
    """

    def __init__(
        self,
        engine: Engine,
        ask: Callable[[], Summary],
        own_key: str = "local",
        tracker_address: str = "HOST:PORT",
        is_building: Callable[[], bool] = lambda: False,
    ) -> None:
        self._engine = engine
        self._ask = ask
        self._own_key = own_key
        self._tracker_address = tracker_address
        self._is_building = is_building
        self._looked_at = float("-inf")
        self._is_disturbed = False
        self._count: dict[str, int] = {}
        self._quarantined: set[str] = set()
        self._misfits: dict[str, str] = {}  # key: what is wrong with the device there
        self._silent: dict[str, tuple[float, str]] = {}  # until when, why

    def look(self, now: float) -> None:
        """Ask the tracker if the last look is a while ago; ``now`` is in seconds of a monotonic clock."""
        self._silent = {key: (until, why) for key, (until, why) in self._silent.items() if now < until}
        if now - self._looked_at < LOOK_EVERY_SEC:
            return
        self._looked_at = now
        self._is_disturbed = self._is_building()
        summary = self._ask()
        present = {key: [facts_in(entry) for entry in entries] for key, entries in tracker.registered(summary).items()}
        self._count = {key: len(told) for key, told in present.items()}
        self._misfits = {key: found for key, told in present.items() if (found := _misfit_among(told))}
        with read(self._engine) as session:
            known = {device.key: device for device in devices.find(session)}
            seen_since = clock.now(session) - SEEN_EVERY
        self._quarantined = {key for key, device in known.items() if device.state == "quarantined"}
        wanted = {key: (self._state(summary, key), told[0] or {}) for key, told in present.items()}
        stale = {key: value for key, value in wanted.items() if _is_stale(known.get(key), *value, seen_since)}
        gone = [key for key, device in known.items() if key not in present and device.state in _PRESENT]
        if stale or gone:
            with write(self._engine) as session:
                for key, (state, facts) in stale.items():
                    _note(session, devices.seen(session, key, state, facts), known.get(key))
                for key in gone:
                    _set_offline(session, key)

    def count(self, key: str) -> int:
        """How many devices of this key can take a round now or after the one they run."""
        return 0 if key in self._quarantined or key in self._misfits else self._count.get(key, 0)

    def present(self) -> set[str]:
        """Keys of the devices that can be used now, or after what they run."""
        return {key for key in self._count if self.count(key)}

    def problem(self, key: str) -> str:
        """Why no device of this key can be used, for people; empty when one can."""
        if key in self._quarantined:
            return f"waiting: the device {key} {_QUARANTINED}"
        if not self._count.get(key):
            return f"waiting for a device of {key}; {self._how_to_start(key)}"
        if key in self._misfits:
            return f"waiting for a device of {key}: the one there {self._misfits[key]}"
        if key in self._silent:
            return f"waiting for a device of {key}: {self._silent[key][1]}"
        if key == self._own_key and self._is_disturbed:
            return "waiting for `tunesmith compile` or `doctor` to end: what it builds would disturb what is measured"
        return ""

    def _how_to_start(self, key: str) -> str:
        if key == self._own_key:
            return "none is registered at the tracker (see `tunesmith doctor`)"
        return f"start one with: tunesmith agent --tracker {self._tracker_address} --key {key}"

    def _state(self, summary: Summary, key: str) -> str:
        if key in self._misfits:
            return "incompatible"
        return "online" if tracker.count_free(summary, key) else "busy"

    def note_silence(self, key: str, why: str, now: float) -> None:
        """The device was asked for and did not come; leave it alone for `REST_SEC`."""
        self._silent[key] = (now + REST_SEC, why)

    def note_round(self, session: Session, key: str, crashed: bool) -> None:
        """Count rounds in a row that killed the device; quarantine it at `MAX_CRASHES`. Call within ``write``."""
        device = session.get(Device, key)
        if device is None or (not crashed and not device.crashes):
            return
        device.crashes = device.crashes + 1 if crashed else 0
        if device.crashes >= MAX_CRASHES:
            device.state = "quarantined"
            self._quarantined.add(key)
            events.emit(session, "device", {"key": key, "state": device.state})
        session.add(device)

    def release_all(self) -> None:
        """Give quarantined devices another chance; the next look says whether they are there."""
        with write(self._engine) as session:
            for device in devices.find(session):
                if device.state == "quarantined":
                    device.state, device.crashes = "offline", 0
                    session.add(device)


def trouble(state: str, facts: dict[str, Any]) -> str:
    """Why a device in this state gets no work and what to do, as the rest of a sentence; empty when it gets some."""
    if state == "quarantined":
        return _QUARANTINED
    return _misfit(facts) if state == "incompatible" else ""


def _misfit(facts: dict[str, Any]) -> str:
    """What is wrong with a device of these facts; one that tells no version is taken as it is."""
    found = str(facts.get("tvm", _TVM))
    if found == _TVM:
        return ""
    return f"has TVM {found}, this service {_TVM}; install the same there: pip install apache-tvm=={_TVM}"


def _misfit_among(told: list[dict[str, Any] | None]) -> str:
    """What is wrong with the first of a key's devices that does not fit."""
    if None in told:
        return "tells of itself what can't be; see the coordinator's log, and install this release there"
    return next((found for facts in told if (found := _misfit(facts or {}))), "")


def _is_stale(device: Device | None, state: str, facts: dict[str, Any], seen_since: datetime) -> bool:
    """Would a look change this device's row?"""
    if device is None or (facts and facts != devices.told(device)):
        return True
    if device.state not in (state, "quarantined"):
        return True
    return device.last_seen < seen_since


def _note(session: Session, device: Device, before: Device | None) -> None:
    # Busy and free alternate with every round; people want to hear of coming and going.
    if before is None or (before.state != device.state and {before.state, device.state} != {"online", "busy"}):
        events.emit(session, "device", {"key": device.key, "state": device.state})


def _set_offline(session: Session, key: str) -> None:
    device = session.get(Device, key)
    if device is not None and device.state != "quarantined":
        device.state = "offline"
        session.add(device)
        events.emit(session, "device", {"key": key, "state": device.state})
