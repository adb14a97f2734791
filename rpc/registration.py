"""The device's side of the tracker: being known there, and offering itself for one session at a time."""

from __future__ import annotations

import secrets
from typing import Any

from rpc.tracker import PENDING_MATCHKEYS, PUT, SUCCESS, UPDATE_INFO, TrackerConnection

_TIMEOUT_SEC = 2.0


class Registration:
    """A device's connection to its tracker. Each method raises OSError when the tracker is gone; `drop` and try again.

    ``port`` is where the device accepts sessions, ``info`` is published in the tracker's summary, ``advertise`` the
    address clients shall use (None: the one the tracker sees).
    """

    def __init__(
        self, tracker: tuple[str, int], key: str, port: int, info: dict[str, Any], advertise: str | None = None
    ) -> None:
        self.tracker = tracker
        self._key = key
        self._port = port
        self._info = info
        self._advertise = advertise
        self.connection: TrackerConnection | None = None
        self.match_key: str | None = None  # what the next client must show; None while nothing is offered

    def connect(self) -> None:
        """Make this device known; it is listed from now on but not offered yet."""
        if self.connection is None:
            connection = TrackerConnection(*self.tracker, _TIMEOUT_SEC)
            self.connection = connection
            info = {**self._info, "key": f"server:{self._key}", "addr": [self._advertise, self._port]}
            self._expect_success(connection.call([UPDATE_INFO, info]))

    def offer(self) -> None:
        """Put this device into the queue of its key, for one client."""
        self.connect()
        assert self.connection is not None
        match_key = f"{self._key}:{secrets.token_hex(8)}"
        self._expect_success(self.connection.call([PUT, self._key, [self._port, match_key], self._advertise]))
        self.match_key = match_key

    def is_unclaimed(self) -> bool:
        """Is the offer still in the queue? False once a client was given it."""
        assert self.connection is not None
        return self.match_key in self.connection.call([PENDING_MATCHKEYS])

    def withdraw(self) -> None:
        """Forget the offer; a client that shows its key is turned away."""
        self.match_key = None

    def drop(self) -> None:
        """Close the connection; the tracker then forgets this device."""
        self.withdraw()
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    @staticmethod
    def _expect_success(answer: Any) -> None:
        if answer != SUCCESS:
            raise ConnectionError(f"the tracker answered {answer!r}")
