"""Devices as last seen at the tracker."""

from __future__ import annotations

from fastapi import APIRouter

from api.deps import EngineDep
from tuner.db import devices
from tuner.db.engine import read
from tuner.jobs.view import device_out
from tuner.schemas import DeviceOut

router = APIRouter(prefix="/devices", tags=["devices"])


@router.get("")
def list_devices(engine: EngineDep) -> list[DeviceOut]:
    """All devices ever seen."""
    with read(engine) as session:
        return [device_out(device) for device in devices.find(session)]
