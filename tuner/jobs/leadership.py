"""Of several coordinators on one database one acts: who holds the lease. It writes only while it does."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy
from sqlmodel import Session

from tuner.db import jobs, leases
from tuner.db.engine import write
from tuner.db.jobs import ActiveJob
from tuner.db.models import Job

log = logging.getLogger(__name__)

LEASE = "coordinator"
LEASE_TTL_SEC = 5.0
RENEW_EVERY_SEC = 1.5


class NotLeading(Exception):
    """Another coordinator has taken over: whatever was going on here must stop."""


class Leadership:
    """The lease of one candidate; ``clock`` is monotonic, in seconds, ``owner`` a name that no other process has."""

    def __init__(self, database: sqlalchemy.Engine, owner: str, clock: Callable[[], float]) -> None:
        self._database = database
        self._owner = owner
        self._clock = clock
        self._renew_at = float("-inf")
        self._leads = False
        self.term = 0  # counts how often the lease was gained: what is in memory is of one term

    def take(self) -> bool:
        """Take the lease, or renew it in time; False while another has it."""
        now = self._clock()
        if self._leads and now < self._renew_at:
            return True
        with write(self._database) as session:
            leads = leases.acquire(session, LEASE, self._owner, LEASE_TTL_SEC)
        self._renew_at = now + RENEW_EVERY_SEC
        if leads and not self._leads:
            log.info("%s coordinates from now on", self._owner)
            self.term += 1
        self._leads = leads
        return leads

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that is the leader's. Raises ``NotLeading`` when another has taken over, as it may have while
        this process was stopped in the middle of a pass."""
        with write(self._database) as session:
            if not leases.belongs_to(session, LEASE, self._owner):
                self._leads = False
                raise NotLeading
            yield session

    def change(self, job: ActiveJob, how: Callable[[Session, Job], None]) -> None:
        """Write down what was decided on a job, unless it is another by now: then the next pass decides anew."""
        with self.write() as session:
            row = jobs.get(session, job.id)
            if (row.state, row.wish) == (job.state, job.wish):
                how(session, row)

    def resign(self) -> None:
        """Give the lease back, so that a successor need not wait for its end."""
        if self._leads:
            self._leads = False
            with write(self._database) as session:
                leases.release(session, LEASE, self._owner)
