"""Health for whatever watches the service: is it up, can it work?"""

from __future__ import annotations

from importlib import metadata
from typing import Literal

from fastapi import APIRouter, Response

from api.deps import EngineDep, SeesDetailsDep, SettingsDep
from rpc.whereabouts import whereabouts
from tuner.jobs.readiness import checks
from tuner.ownership import id_if_known
from tuner.schemas import Health

router = APIRouter(tags=["health"])

OK = "ok"


@router.get("/healthz", response_model_exclude_defaults=True)
def get_health(settings: SettingsDep, sees_details: SeesDetailsDep) -> Health:
    """The web process answers, and says whose it is."""
    return _told({"web": OK}, sees_details).model_copy(update={"id": id_if_known(settings)})


@router.get(
    "/readyz",
    response_model_exclude_defaults=True,
    responses={503: {"model": Health, "description": "Something a job needs is missing."}},
)
def get_readiness(engine: EngineDep, settings: SettingsDep, sees_details: SeesDetailsDep, response: Response) -> Health:
    """All that a job needs is there: database, coordinator, engine, this machine as a device, disk space."""
    found = {check.name: OK if check.ok else check.detail for check in checks(settings, engine)}
    health = _told(found, sees_details)
    response.status_code = 200 if health.status == "ok" else 503
    return health


def _told(found: dict[str, str], sees_details: bool) -> Health:
    status: Literal["ok", "degraded"] = "ok" if set(found.values()) == {OK} else "degraded"
    if not sees_details:
        return Health(status=status)
    return Health(status=status, checks=found, version=metadata.version("tunesmith"), place=whereabouts())
