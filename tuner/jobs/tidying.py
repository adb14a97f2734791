"""When the coordinator cleans up: once an hour, between two tasks if it can be, a little in each pass."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator

from sqlalchemy import Engine

from tuner.config import Settings
from tuner.jobs import housekeeping
from tuner.jobs.going import Going

log = logging.getLogger(__name__)

EVERY_SEC = 3600.0
LATEST_SEC = 6 * EVERY_SEC  # then also beside a task
TURN_SEC = 0.5  # no job waits longer for it in one pass


class Tidying:
    """Calls ``housekeeping.clean`` in time; times are seconds of a monotonic clock."""

    def __init__(self, settings: Settings, database: Engine) -> None:
        self._settings = settings
        self._database = database
        self._begun_at = -math.inf
        self._going: Iterator[Going] = iter(())

    def turn(self, now: float, is_idle: bool) -> None:
        """Clean up if it is time. What can't be done now is tried again an hour later."""
        if now - self._begun_at >= EVERY_SEC:
            if not is_idle and now - self._begun_at < LATEST_SEC:
                return
            self._begun_at = now
            self._going = housekeeping.clean(self._settings, self._database)
        elif not is_idle:
            return
        try:
            self._take_some()
        except Exception:  # files of others in the way, a disk that fails: no job waits for this
            log.exception("cleaning up failed")

    def _take_some(self) -> None:
        until = time.monotonic() + TURN_SEC
        for one in self._going:
            log.info("%s %s went: %s", one.kind, one.name, one.why)
            if time.monotonic() > until:
                return
