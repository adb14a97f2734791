"""What jobs are to say, written down together: when an engine goes or comes back, a thousand may wait for it."""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

from tuner.db.jobs import ActiveJob
from tuner.jobs import ledger
from tuner.jobs.leadership import Leadership

AT_A_TIME = 200  # jobs in one transaction: others get their turn between two


class Saying(NamedTuple):
    """A job as it was when its message was decided on, and the message."""

    state: str
    wish: str
    message: str


class Sayings:
    """Collects messages of a pass; the last of a job counts."""

    def __init__(self, lead: Leadership) -> None:
        self._lead = lead
        self._waiting: dict[str, Saying] = {}

    def add(self, job: ActiveJob, message: str) -> None:
        """Let the job say this, unless it is another by the time that it is written down."""
        self._waiting[job.id] = Saying(job.state, job.wish, message)

    def write(self) -> None:
        """Write all down; what breaks off is decided on anew in the next pass."""
        found, self._waiting = iter(self._waiting.items()), {}
        while some := dict(islice(found, AT_A_TIME)):
            with self._lead.write() as session:
                ledger.say_all(session, some)
