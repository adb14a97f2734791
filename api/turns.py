"""So many at once: others wait for their turn, in the order in which they came, and not for ever."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from tuner.errors import Busy


class Turns:
    """Turns at something that takes memory, disk or the processor; ``what`` names it for people: "imports"."""

    def __init__(self, what: str, at_once: int, most_waiting: int = 32, wait_sec: float = 60.0) -> None:
        self._what = what
        self._limiter = anyio.CapacityLimiter(at_once)
        self._most_waiting = most_waiting
        self._wait_sec = wait_sec

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Have a turn. Raises Busy when too many wait already, or the wait is too long."""
        mine = object()
        if self._limiter.available_tokens == 0 and self._limiter.statistics().tasks_waiting >= self._most_waiting:
            raise self._busy()
        try:
            with anyio.fail_after(self._wait_sec):
                await self._limiter.acquire_on_behalf_of(mine)
        except TimeoutError:
            raise self._busy() from None
        try:
            yield
        finally:
            self._limiter.release_on_behalf_of(mine)

    def _busy(self) -> Busy:
        return Busy(f"There are too many {self._what} at once.", "Try again in a moment.")
