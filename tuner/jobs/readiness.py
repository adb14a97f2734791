"""Can the service work, and if not, what is missing? The one list that the web process and `tunesmith doctor` show."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from rpc import heartbeat
from tuner.config import Settings
from tuner.db import clock, devices, leases
from tuner.db.engine import read
from tuner.db.migrate import check_engine
from tuner.db.models import Device
from tuner.errors import TunerError
from tuner.jobs.device_watch import SEEN_EVERY, trouble

DEVICE_FRESH = 2 * SEEN_EVERY  # a device that is idle is noted no more often than that
PASS_MOST_SEC = (
    30.0  # a pass of the coordinator takes milliseconds; a database that is locked costs it up to 15 s a write
)
_LOGS = "Look into run/logs/{}.log of the data directory."


@dataclass(frozen=True)
class Check:
    """One thing looked at: what was found, and what to do when it is not well."""

    name: str
    ok: bool
    detail: str
    hint: str = ""


def checks(settings: Settings, engine: Engine) -> Iterator[Check]:
    """All that a job needs: database, coordinator, engine, this machine as a device, disk space."""
    database = _database(engine, settings)
    yield database
    if database.ok:
        yield from working(settings, engine)
        yield _device(settings, engine)
    yield _disk(settings)


def working(settings: Settings, engine: Engine) -> Iterator[Check]:
    """Whether the coordinator and the engine work, going by what the coordinator notes after each pass."""
    beat = heartbeat.last(settings.heartbeat_file)
    yield _coordinator(engine, beat)
    if beat and beat.age_sec <= PASS_MOST_SEC:
        yield _engine(settings, json.loads(beat.note or "{}"))
    else:
        yield Check("engine", False, "nobody looks after it", "See what is said of the coordinator.")


def _database(engine: Engine, settings: Settings) -> Check:
    try:
        check_engine(engine, settings)
    except TunerError as error:
        return Check("database", False, error.message, error.hint)
    except SQLAlchemyError as error:
        return Check("database", False, str(error))
    return Check("database", True, "answers")


def _coordinator(engine: Engine, beat: heartbeat.Beat | None) -> Check:
    hint = _LOGS.format("coordinator")
    if beat is None:
        return Check("coordinator", False, "has finished no pass; `tunesmith serve` starts one", hint)
    detail = f"last finished a pass {beat.age_sec:.1f} s ago"
    if beat.age_sec > PASS_MOST_SEC:
        return Check("coordinator", False, detail, hint)
    with read(engine) as session:
        leads = leases.is_held(session, "coordinator")
    return Check("coordinator", leads, detail if leads else f"{detail}, but nobody holds the lease", hint)


def _engine(settings: Settings, note: dict[str, Any]) -> Check:
    if "workers" not in note:
        return Check("engine", True, "is another coordinator's to look after")
    workers, wanted = note["workers"], settings.engine_workers
    detail = "does not answer" if workers is None else f"{workers} of {wanted} workers"
    return Check("engine", (workers or 0) >= wanted, detail, _LOGS.format("engine"))


def _device(settings: Settings, engine: Engine) -> Check:
    key = settings.device_key
    with read(engine) as session:
        device, now = session.get(Device, key), clock.now(session)
    if device is None:
        return Check("device", False, f"'{key}' was never seen", _LOGS.format("device"))
    silent = now - device.last_seen
    if why := trouble(device.state, devices.told(device)):
        return Check("device", False, f"'{key}' {why}")
    ok = device.state in ("online", "busy") and silent <= DEVICE_FRESH
    detail = f"'{key}' is {device.state}" if ok else f"'{key}' was last seen {silent.total_seconds():.0f} s ago"
    return Check("device", ok, detail, _LOGS.format("device"))


def _disk(settings: Settings) -> Check:
    free = shutil.disk_usage(settings.root).free
    detail = f"{free / 1e9:.1f} GB free"
    if free >= settings.min_free_bytes:
        return Check("disk", True, detail)
    needed = f"{settings.min_free_bytes / 1e9:.1f} GB"
    return Check("disk", False, f"{detail}, {needed} needed", f"Free some space: jobs stop below {needed}.")
