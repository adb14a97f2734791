"""Health for whatever watches the service: is it up, can it work?"""

from __future__ import annotations

from importlib import metadata

from fastapi import APIRouter, Response

from api.deps import EngineDep, SettingsDep
from tuner.jobs.readiness import checks
from tuner.schemas import Health

router = APIRouter(tags=["health"])

OK = "ok"


@router.get("/healthz")
def get_health() -> Health:
    """The web process answers."""
    return Health(status="ok", checks={"web": OK}, version=metadata.version("tunesmith"))


@router.get("/readyz", responses={503: {"model": Health, "description": "Something a job needs is missing."}})
def get_readiness(engine: EngineDep, settings: SettingsDep, response: Response) -> Health:
    """All that a job needs is there: database, coordinator, engine, this machine as a device, disk space."""
    found = list(checks(settings, engine))
    ready = all(check.ok for check in found)
    response.status_code = 200 if ready else 503
    return Health(
        status="ok" if ready else "degraded",
        checks={check.name: OK if check.ok else check.detail for check in found},
        version=metadata.version("tunesmith"),
    )
