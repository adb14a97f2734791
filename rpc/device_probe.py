"""Does a device of the tracker work? It gives us a session, or its loop turns while somebody else has one."""

from __future__ import annotations

import sys
import time

from rpc import tracker
from rpc.handshake import MAGIC, greet, knock

_TIMEOUT_SEC = 2.0
# A session costs a fork, or loads TVM where processes must not fork; in between it is enough that somebody is in.
_SESSION_EVERY_SEC = 30.0 if sys.platform == "linux" else 600.0


class DeviceProbe:
    """Asks for the devices with one key at one tracker."""

    def __init__(self, host: str, port: int, key: str) -> None:
        self._tracker = (host, port)
        self._key = key
        self._session_at = 0.0  # monotonic

    def is_registered(self) -> bool | None:
        """Does the tracker know such a device, busy or free? None when the tracker itself can't say."""
        summary = self._summary()
        return None if summary is None else tracker.count_registered(summary, self._key) > 0

    def is_well(self) -> bool | None:
        """Does it work? None when the tracker can't say."""
        summary = self._summary()
        if summary is None:
            return None
        if time.monotonic() >= self._session_at and tracker.count_free(summary, self._key):
            if self._gives_session():
                self._session_at = time.monotonic() + _SESSION_EVERY_SEC
                return True
            summary = self._summary()
            if summary is None:
                return None
            if tracker.count_free(summary, self._key):
                return False  # it offers what it does not give; else somebody was faster
        found = tracker.registered(summary).get(self._key, [])
        return any(knock((str(host), int(port)), _TIMEOUT_SEC) for host, port in (entry["addr"] for entry in found))

    def _gives_session(self) -> bool:
        try:
            with tracker.TrackerConnection(*self._tracker, _TIMEOUT_SEC) as connection:
                code, value = connection.call([tracker.REQUEST, self._key, "", 1])
            if code != tracker.SUCCESS:
                return False
            host, port, match_key = value
            return greet((host, port), f"{match_key} -timeout={_TIMEOUT_SEC:g}", _TIMEOUT_SEC) == MAGIC
        except OSError:
            return False

    def _summary(self) -> tracker.Summary | None:
        try:
            return tracker.summary(*self._tracker, _TIMEOUT_SEC)
        except OSError:
            return None
