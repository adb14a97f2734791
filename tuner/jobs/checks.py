"""Has devices load and run what was compiled for them: each artifact that no device has run, when one of its kind is
there, and what people ask for. A process for each, one after the other; the device's lease keeps it apart from rounds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import sqlalchemy

from tuner.config import Settings
from tuner.db import device_checks
from tuner.db.engine import read
from tuner.jobs.check_child import CheckChild
from tuner.jobs.device_watch import DeviceWatch
from tuner.jobs.leadership import Leadership
from tuner.targets import presets

log = logging.getLogger(__name__)

LOOK_EVERY_SEC = 2.0
MOST_SEC = 1800.0  # of a check: a wait for the device, and a session on it
_OF_A_KIND = 20  # artifacts, the newest, that a device which joins is given
_REST_SEC = 30.0  # after one whose device did not come
GIVE_EVERY_SEC = 60.0  # to a device that is there, what was compiled meanwhile


class Child(Protocol):
    """A process that checks."""

    @property
    def alive(self) -> bool: ...

    def end(self) -> None: ...


Start = Callable[[str, str], Child]


class Checks:
    """What is checked on which devices. Nothing here but can be lost: whoever comes next checks again."""

    def __init__(
        self,
        settings: Settings,
        database: sqlalchemy.Engine,
        lead: Leadership,
        devices: DeviceWatch,
        start: Start = CheckChild,
    ) -> None:
        """``start`` begins the check of an artifact on a device."""
        self._settings = settings
        self._database = database
        self._lead = lead
        self._devices = devices
        self._start = start
        self._child: tuple[Child, str, str, float] | None = None  # with artifact, device, and when it began
        self._looked_at = float("-inf")
        self._given_at: dict[str, float] = {}
        self._rests: dict[str, float] = {}  # until when a device is left alone

    def look(self, now: float) -> None:
        """See how far everything is, and begin what is next; ``now`` is monotonic, in seconds."""
        if now - self._looked_at < LOOK_EVERY_SEC:
            return
        self._looked_at = now
        self._reap(now)
        present = {key for key in self._devices.present() if key != self._settings.device_key}
        self._given_at = {key: at for key, at in self._given_at.items() if key in present}
        for key in present:
            if now - self._given_at.get(key, float("-inf")) >= GIVE_EVERY_SEC:
                self._given_at[key] = now
                self._give(key)
        if self._child is None and present:
            self._begin(now, present)

    def close(self) -> None:
        """End what runs: whoever comes next begins it again."""
        if self._child is not None:
            self._child[0].end()
            self._child = None

    def _give(self, key: str) -> None:
        """A device of this key is there: want all checked that was compiled for its kind."""
        own = self._settings.device_key
        with read(self._database) as session:
            compiled = device_checks.compiled_for(session)
            targets = [target for target in compiled if presets.device_key_of(target, own) == key]
            found = device_checks.unseen(session, targets, key, _OF_A_KIND)
        if found:
            log.info("%s is there: %d artifacts to be checked", key, len(found))
            with self._lead.write() as session:
                for artifact_id in found:
                    device_checks.ask(session, artifact_id, key)

    def _begin(self, now: float, present: set[str]) -> None:
        with read(self._database) as session:
            waiting = device_checks.open_ones(session)
        for row in waiting:
            key, artifact_id = row.device_key, row.artifact_id
            if key in present and not self._devices.problem(key) and now >= self._rests.get(key, now):
                with self._lead.write() as db:
                    device_checks.set_state(db, artifact_id, key, "running", {})
                try:
                    self._child = self._start(artifact_id, key), artifact_id, key, now
                except OSError as error:  # the machine has no process left for it just now
                    log.warning("no process can be started to check %s: %s", artifact_id, error)
                    self._rests[key] = now + _REST_SEC
                return

    def _reap(self, now: float) -> None:
        if self._child is None:
            return
        child, artifact_id, key, began = self._child
        late = now - began > MOST_SEC
        if child.alive and not late:
            return
        if late:
            child.end()
        self._child = None
        with self._lead.write() as session:
            row = device_checks.get(session, artifact_id, key)
            if row is None or row.ended_at is not None:
                return
            if row.state == "wanted":  # its device did not come
                self._rests[key] = now + _REST_SEC
                return
            why = f"took longer than {MOST_SEC:g} s" if late else "ended without a word; see run/logs/coordinator.log"
            device_checks.set_state(session, artifact_id, key, "failed", {"error": f"the process that ran it {why}"})
