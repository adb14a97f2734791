"""When the coordinator cleans up: once an hour, between two tasks if it can be."""

from __future__ import annotations

import logging
import math

from sqlalchemy import Engine

from tuner.config import Settings
from tuner.jobs import housekeeping

log = logging.getLogger(__name__)

EVERY_SEC = 3600.0
LATEST_SEC = 6 * EVERY_SEC  # then also beside a task


class Tidying:
    """Calls ``housekeeping.clean`` in time; times are seconds of a monotonic clock."""

    def __init__(self, settings: Settings, database: Engine) -> None:
        self._settings = settings
        self._database = database
        self._done_at = -math.inf

    def turn(self, now: float, is_idle: bool) -> None:
        """Clean up if it is time. What can't be done now is tried again an hour later."""
        if now - self._done_at < (EVERY_SEC if is_idle else LATEST_SEC):
            return
        self._done_at = now
        try:
            gone = housekeeping.clean(self._settings, self._database)
        except Exception:  # files of others in the way, a disk that fails: no job waits for this
            log.exception("cleaning up failed")
        else:
            for one in gone:
                log.info("%s %s went: %s", one.kind, one.name, one.why)
