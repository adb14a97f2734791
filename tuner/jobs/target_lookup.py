"""Targets as this service knows them: with what its devices said of themselves, and whether one is there."""

from __future__ import annotations

from typing import Any

from sqlmodel import Session

from tuner.config import Settings
from tuner.db import devices
from tuner.db.models import Device, Job
from tuner.errors import TargetUnknown
from tuner.schemas import TargetOut
from tuner.targets import presets
from tuner.targets.presets import Target
from tuner.targets.roofline import Peak

_THERE = ("online", "busy")


def known_targets(session: Session, settings: Settings) -> list[Target]:
    """All targets by name."""
    return presets.known(settings.device_key, local_facts(session, settings), _seen(session))


def resolve_target(session: Session, settings: Settings, name: str) -> Target:
    """The target of this name or JSON. Raises TargetUnknown."""
    return presets.resolve(name, settings.device_key, local_facts(session, settings), _seen(session))


def peak_for(session: Session, settings: Settings, job: Job) -> Peak | None:
    """The peak of a job's target; None while it is not known, and when the target's device is another one by now."""
    try:
        target = resolve_target(session, settings, job.target)
    except TargetUnknown:
        return None
    return target.peak if target.family == job.target_family else None


def target_outs(session: Session, settings: Settings) -> list[TargetOut]:
    """All targets as they are shown."""
    there = {device.key for device in devices.find(session) if device.state in _THERE}
    return [
        TargetOut(
            **{name: getattr(target, name) for name in TargetOut.model_fields if name != "device_online"},
            device_online=target.device_key in there,
        )
        for target in known_targets(session, settings)
    ]


def local_facts(session: Session, settings: Settings) -> dict[str, object] | None:
    """What the local device said of itself; None while it was never seen."""
    device = session.get(Device, settings.device_key)
    return device.facts if device is not None and device.facts else None


def _seen(session: Session) -> dict[str, dict[str, Any]]:
    return {device.key: device.facts for device in devices.find(session)}
