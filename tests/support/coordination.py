"""A coordinator over a real database, a fake engine, and a clock, tracker and disk that tests turn by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session

from tests.support.fake_engine import FakeCluster, FakeEngine
from tests.support.fake_stages import FAMILY, fake_stages
from tests.support.rows import add_job, utcnow
from tuner.config import Settings
from tuner.db import events, jobs
from tuner.db.engine import read, write
from tuner.db.models import Event, Job, Lease, Round
from tuner.jobs.coordinator import Coordinator
from tuner.jobs.device_watch import DeviceWatch
from tuner.jobs.engine import Engine as EngineOfJobs
from tuner.jobs.leadership import LEASE

PLENTY_BYTES = 2**40


class Bench:
    """The world of one or more coordinators."""

    def __init__(self, settings: Settings, database: Engine) -> None:
        self.settings = settings
        self.database = database
        self.cluster = FakeCluster(fake_stages())
        self.now = 1000.0
        self.free_bytes = PLENTY_BYTES
        self.devices: dict[str, int] = {"local": 1}
        self.coordinator = self.successor()

    def successor(self, engine: EngineOfJobs | None = None) -> Coordinator:
        """Another coordinator, as a new process would make it; on the fake engine unless another is given."""
        return Coordinator(
            self.settings,
            self.database,
            engine or FakeEngine(self.cluster, self.settings),
            DeviceWatch(self.database, lambda: self.summary()),
            free_bytes=lambda: self.free_bytes,
            clock=lambda: self.now,
        )

    def summary(self) -> dict[str, Any]:
        """What a tracker says of ``devices``."""
        return {
            "server_info": [
                {"key": f"server:{key}", "addr": ["127.0.0.1", 1]} for key, n in self.devices.items() for _ in range(n)
            ],
            "queue_info": {key: {"free": n, "pending": 0} for key, n in self.devices.items()},
        }

    def submit(self, **fields: Any) -> str:
        """A job whose target is known; returns its id."""
        given = {"budget_trials": 64, "target_family": FAMILY, "target_json": {"kind": "llvm"}, **fields}
        with write(self.database) as session:
            return add_job(session, **given).id

    def pass_(self, seconds: float = 3.0) -> None:
        """Let time pass, then one pass of the coordinator."""
        self.now += seconds
        self.coordinator.tick()

    def run_until(self, happened: Callable[[], object], passes: int = 200) -> None:
        """Pass by pass until it happens."""
        for _ in range(passes):
            if happened():
                return
            self.pass_()
        raise AssertionError(f"it did not happen within {passes} passes")

    def run_to(self, job_id: str, state: str) -> Job:
        """Until the job is in this state."""
        self.run_until(lambda: self.job(job_id).state == state)
        return self.job(job_id)

    def job(self, job_id: str) -> Job:
        with read(self.database) as session:
            return jobs.get(session, job_id)

    def rounds(self, job_id: str, state: str | None = None) -> list[Round]:
        with read(self.database) as session:
            return jobs.rounds(session, job_id, state)

    def events(self, job_id: str | None, kind: str) -> list[Event]:
        with read(self.database) as session:
            return events.since(session, 0, job_id, kind=kind)

    def states(self, job_id: str) -> list[str]:
        """The states the job was said to take, in order."""
        return [event.data["state"] for event in self.events(job_id, "state")]

    def ask(self, change: Callable[[Session, str], object], job_id: str) -> None:
        """A wish of a user (a function of ``tuner.jobs.control``)."""
        with write(self.database) as session:
            change(session, job_id)

    def expire_lease(self) -> None:
        """As if the coordinator that holds it was killed a while ago."""
        with write(self.database) as session:
            session.get_one(Lease, LEASE).expires_at = utcnow() - timedelta(seconds=1)
