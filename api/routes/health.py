"""Health for whatever watches the service: is it up, can it work?"""

from __future__ import annotations

import shutil
from importlib import metadata

from fastapi import APIRouter, Response
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from api.deps import EngineDep, SettingsDep
from tuner.config import Settings
from tuner.db import clock, devices, leases
from tuner.db.engine import read
from tuner.db.migrate import check_engine
from tuner.errors import TunerError
from tuner.jobs.device_watch import SEEN_EVERY
from tuner.schemas import Health

router = APIRouter(tags=["health"])

DEVICE_FRESH = 2 * SEEN_EVERY  # a device that is idle is noted no more often than that
OK = "ok"


@router.get("/healthz")
def get_health() -> Health:
    """The web process answers."""
    return Health(status="ok", checks={"web": OK}, version=metadata.version("tunesmith"))


@router.get("/readyz", responses={503: {"model": Health, "description": "Something a job needs is missing."}})
def get_readiness(engine: EngineDep, settings: SettingsDep, response: Response) -> Health:
    """All that a job needs is there: database, coordinator, a device, disk space."""
    checks = {"database": _database(engine, settings)}
    if checks["database"] == OK:
        checks["coordinator"] = _coordinator(engine)
        checks["device"] = _device(engine)
    checks["disk"] = _disk(settings)
    ready = all(result == OK for result in checks.values())
    response.status_code = 200 if ready else 503
    return Health(status="ok" if ready else "degraded", checks=checks, version=metadata.version("tunesmith"))


def _database(engine: Engine, settings: Settings) -> str:
    try:
        check_engine(engine, settings)
    except (TunerError, SQLAlchemyError) as exc:
        return str(exc)
    return OK


def _coordinator(engine: Engine) -> str:
    with read(engine) as session:
        return OK if leases.is_held(session, "coordinator") else "no coordinator runs; `tunesmith serve` starts one"


def _device(engine: Engine) -> str:
    with read(engine) as session:
        oldest = clock.now(session) - DEVICE_FRESH
        seen = devices.find(session)
    if any(device.last_seen >= oldest and device.state in ("online", "busy") for device in seen):
        return OK
    return f"none of {', '.join(device.key for device in seen)} answers" if seen else "no device was seen yet"


def _disk(settings: Settings) -> str:
    free = shutil.disk_usage(settings.root).free
    return OK if free >= settings.min_free_bytes else f"{free} bytes free, {settings.min_free_bytes} needed"
