"""Devices as last seen at the tracker."""

from __future__ import annotations

from typing import Any

from sqlmodel import Session, col, select

from tuner.db import clock
from tuner.db.models import Device

PEAK = "peak"  # the one fact that is measured here, once, and not told by the device
_HARDWARE = ("cpu", "threads")  # facts that a peak belongs to


def find(session: Session) -> list[Device]:
    """All devices ever seen, by key."""
    return list(session.exec(select(Device).order_by(col(Device.key))))


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
    """Keep a device's measured peak with its facts. Call within ``write``."""
    device = session.get(Device, key)
    if device is not None:
        device.facts = {**device.facts, PEAK: peak}
        session.add(device)
