"""What happens, read from the database once for all who listen: one question a moment, however many streams."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import anyio
from anyio.to_thread import run_sync

from tuner.errors import Busy
from tuner.schemas import EventOut

log = logging.getLogger("tunesmith.api")

POLL_SEC = 0.5
LOOK_SEC = 2.0  # between two looks at whether tokens are still good
RETRY_SEC = 2.0
MAX_STREAMS = 64
_MAX_WAITING = 500  # events that a stream may lag behind; beyond that it reads the database itself until it is up

Fetch = Callable[[int, "str | None"], list[EventOut]]


class _Listener:
    """What one stream has not sent yet; whose token let it in, and how it is ended."""

    def __init__(self, token: str, ended: anyio.Event) -> None:
        self.token = token
        self.ended = ended
        self.waiting: deque[EventOut] = deque()
        self.has_missed = False
        self.news = asyncio.Event()

    def tell(self, event: EventOut) -> None:
        if len(self.waiting) >= _MAX_WAITING:
            self.waiting.clear()
            self.has_missed = True
        if not self.has_missed:
            self.waiting.append(event)
        self.news.set()


class EventHub:
    """``fetch`` gives the next events after an id, of one job or of all, some at a time; ``last_id`` the newest's.

    ``still_good`` says which tokens, given and told by their digests, are: the streams of others end.
    """

    def __init__(
        self,
        fetch: Fetch,
        last_id: Callable[[], int],
        still_good: Callable[[set[str]], set[str]],
        poll_sec: float = POLL_SEC,
        look_sec: float = LOOK_SEC,
    ) -> None:
        self._fetch = fetch
        self._last_id = last_id
        self._still_good = still_good
        self._poll_sec = poll_sec
        self._look_sec = look_sec
        self._listeners: set[_Listener] = set()
        self._polling: asyncio.Task[None] | None = None

    def refuse_too_many(self) -> None:
        """Raise Busy when no other stream may begin."""
        if len(self._listeners) >= MAX_STREAMS:
            raise Busy(f"{MAX_STREAMS} event streams are open already.", "Close some, or ask for the job now and then.")

    async def stream(
        self, after: int, job_id: str | None, ended: anyio.Event, token: str = ""
    ) -> AsyncIterator[EventOut]:
        """Events after this id, of one job or of all, until it has ``ended``: first those that were, then those that
        come. ``token``: the digest of one that may be revoked meanwhile, which sets ``ended``."""
        with self._listening(_Listener(token, ended)) as listener:
            while not ended.is_set():
                listener.waiting.clear()
                listener.has_missed = False
                # Whatever is committed from here on is told to the listener; the rest is read now.
                while batch := await run_sync(self._fetch, after, job_id):
                    for event in batch:
                        after = event.id
                        yield event
                while not (listener.has_missed or ended.is_set()):
                    while listener.waiting:
                        event = listener.waiting.popleft()
                        if event.id > after and job_id in (None, event.job_id):
                            after = event.id
                            yield event
                    listener.news.clear()
                    if not listener.has_missed:
                        await _first(listener.news.wait(), ended.wait())

    async def close(self) -> None:
        """Stop reading."""
        if self._polling is not None:
            self._polling.cancel()
            with suppress(asyncio.CancelledError):
                await self._polling

    @contextmanager
    def _listening(self, listener: _Listener) -> Iterator[_Listener]:
        self._listeners.add(listener)
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll())
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    async def _poll(self) -> None:
        """Tell the listeners what is new, until there are none."""
        position: int | None = None
        looked_at = anyio.current_time()
        while self._listeners:
            try:
                if anyio.current_time() - looked_at >= self._look_sec:
                    await self._turn_out()
                    looked_at = anyio.current_time()
                if position is None:
                    position = await run_sync(self._last_id)
                    for listener in self._listeners:  # what came while nobody looked
                        listener.has_missed = True
                        listener.news.set()
                while batch := await run_sync(self._fetch, position, None):
                    position = batch[-1].id
                    for event in batch:
                        for listener in self._listeners:
                            listener.tell(event)
            except Exception:  # a database that is away for a moment, or a fault; streams must not stand still for it
                log.exception("events can't be read; trying again")
                await asyncio.sleep(RETRY_SEC)
            await asyncio.sleep(self._poll_sec)

    async def _turn_out(self) -> None:
        """End the streams whose tokens were revoked."""
        shown = {listener.token for listener in self._listeners} - {""}
        good = await run_sync(self._still_good, shown) if shown else set()
        for listener in self._listeners:
            if listener.token in shown - good:
                listener.ended.set()


async def _first(*awaited: Coroutine[Any, Any, object]) -> None:
    """Return with the first that does."""
    tasks = [asyncio.ensure_future(one) for one in awaited]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
