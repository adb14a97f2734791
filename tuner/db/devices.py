"""Devices as last seen at the tracker."""

from __future__ import annotations

from typing import Any

from sqlmodel import Session, col, select

from tuner.db import clock
from tuner.db.models import Device
from tuner.errors import InvalidInput

PEAK = "peak"  # the one fact that is measured here and not told by the device
_MEASURED_ON = "measured_on"
_HARDWARE = ("cpu", "threads")  # facts that a peak belongs to


def find(session: Session) -> list[Device]:
    """All devices ever seen, by key."""
    return list(session.exec(select(Device).order_by(col(Device.key))))


def known_other(session: Session, key: str, own_key: str) -> Device:
    """A device on another machine, which was seen at the tracker. Raises InvalidInput naming those there are."""
    device = session.get(Device, key)
    if device is None or key == own_key:
        others = [one.key for one in find(session) if one.key != own_key]
        what = "is this machine, which runs artifacts by `tunesmith run`" if key == own_key else "was never seen here"
        raise InvalidInput(
            f"The device {key!r} {what}; others are: {', '.join(others) or 'none'}.",
            "A machine becomes one by `tunesmith agent`; `tunesmith devices` lists them.",
        )
    return device


def seen(session: Session, key: str, state: str = "online", facts: dict[str, Any] | None = None) -> Device:
    """Note that the device answered just now; a quarantined device stays so until somebody releases it."""
    device = session.get(Device, key) or Device(key=key)
    device.last_seen = clock.now(session)
    if device.state != "quarantined":
        device.state = state
    if facts:
        same = PEAK in device.facts and all(device.facts.get(name) == facts.get(name) for name in _HARDWARE)
        device.facts = {**facts, PEAK: device.facts[PEAK]} if same else facts
    session.add(device)
    return device


def told(device: Device) -> dict[str, Any]:
    """The facts as the device told them."""
    return {name: value for name, value in device.facts.items() if name != PEAK}


def put_peak(session: Session, key: str, peak: dict[str, float]) -> None:
    """Keep a device's measured peak with its facts, each of its figures unless a better one is known, and the day.

    Call within ``write``.
    """
    device = session.get(Device, key)
    if device is not None:
        known = device.facts.get(PEAK, {})
        best = {name: max(value, known.get(name, 0.0)) for name, value in peak.items()}
        device.facts = {**device.facts, PEAK: {**best, _MEASURED_ON: _today(session)}}
        session.add(device)


def knows_peak_of_today(session: Session, facts: dict[str, Any]) -> bool:
    """Was the peak of a device with these facts measured today (UTC)?"""
    return facts.get(PEAK, {}).get(_MEASURED_ON) == _today(session)


def _today(session: Session) -> str:
    return clock.now(session).date().isoformat()
