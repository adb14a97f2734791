"""One reader of the database for any number of streams, none of which loses an event or sees one twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import datetime, timezone

import anyio
import pytest

from api import event_hub
from api.event_hub import EventHub
from tuner.errors import Busy
from tuner.schemas import EventOut

NOON = datetime(2025, 3, 1, 12, tzinfo=timezone.utc)


class Log:
    """Events as the database has them."""

    def __init__(self) -> None:
        self.events: list[EventOut] = []
        self.questions: list[tuple[int, str | None]] = []
        self.trouble = 0
        self.tokens = {"one", "two"}

    def add(self, job_id: str = "job-a", count: int = 1) -> None:
        for _ in range(count):
            number = len(self.events) + 1
            self.events.append(EventOut(id=number, job_id=job_id, kind="message", data={}, created_at=NOON))

    def fetch(self, after: int, job_id: str | None) -> list[EventOut]:
        if self.trouble:
            self.trouble -= 1
            raise OSError("the database is away")
        self.questions.append((after, job_id))
        return [event for event in self.events if event.id > after and job_id in (None, event.job_id)][:7]

    def last_id(self) -> int:
        return len(self.events)

    def hub(self) -> EventHub:
        return EventHub(self.fetch, self.last_id, self.tokens.intersection, poll_sec=0.01, look_sec=0.01)


async def take(stream: AsyncIterator[EventOut], count: int) -> list[int]:
    """The ids of the next events."""
    return [(await anext(stream)).id for _ in range(count)]


@asynccontextmanager
async def listening(log: Log) -> AsyncIterator[tuple[EventHub, AsyncIterator[EventOut], list[int]]]:
    """A hub, a stream of a job of it that has had the log's first event, and the ids that it has had."""
    hub = log.hub()
    async with aclosing(hub.stream(0, "job-a", anyio.Event())) as stream:
        log.add()
        yield hub, stream, await take(stream, 1)
    await hub.close()


def test_a_stream_has_what_was_and_what_comes_each_once_and_in_order() -> None:
    async def main() -> list[int]:
        log = Log()
        log.add(count=20)
        hub = log.hub()
        async with aclosing(hub.stream(5, None, anyio.Event())) as stream:
            found = await take(stream, 15)
            for _ in range(30):
                log.add()
                found += await take(stream, 1)
            log.add(count=20)
            found += await take(stream, 20)
        await hub.close()
        return found

    assert asyncio.run(main()) == list(range(6, 71))


def test_a_jobs_stream_has_that_jobs_events_only() -> None:
    async def main() -> list[int]:
        log = Log()
        hub = log.hub()
        for job_id in ("job-a", "job-b", "job-a"):
            log.add(job_id)
        async with aclosing(hub.stream(0, "job-a", anyio.Event())) as stream:
            found = await take(stream, 2)
            log.add("job-b")
            log.add("job-a")
            found += await take(stream, 1)
        await hub.close()
        return found

    assert asyncio.run(main()) == [1, 3, 5]


def test_many_streams_ask_the_database_no_more_often_than_one() -> None:
    async def main() -> None:
        log = Log()
        hub = log.hub()
        streams = [hub.stream(0, job_id, anyio.Event()) for job_id in (None, *["job-a"] * 49)]
        waiting = [asyncio.ensure_future(take(streams[0], 3))]
        while log.questions.count((0, None)) < 2:  # it and the hub itself: who comes now reads what was once
            await asyncio.sleep(0.01)
        waiting += [asyncio.ensure_future(take(stream, 3)) for stream in streams[1:]]
        while log.questions.count((0, "job-a")) < 49:  # all of them have read what was: nothing
            await asyncio.sleep(0.01)
        log.questions.clear()
        for _ in range(3):
            log.add()
            await asyncio.sleep(0.03)
        assert await asyncio.gather(*waiting) == [[1, 2, 3]] * 50
        assert len(log.questions) < 30
        for stream in streams:
            await stream.aclose()  # type: ignore[attr-defined]
        await hub.close()

    asyncio.run(main())


def test_nobody_asks_the_database_when_nobody_listens() -> None:
    async def main() -> None:
        log = Log()
        hub = log.hub()
        log.add()
        async with aclosing(hub.stream(0, None, anyio.Event())) as stream:
            await take(stream, 1)
        assert hub._polling is not None
        await hub._polling
        log.questions.clear()
        await asyncio.sleep(0.1)
        assert log.questions == []
        async with aclosing(hub.stream(0, None, anyio.Event())) as stream:
            assert await take(stream, 1) == [1]
            log.add()
            assert await take(stream, 1) == [2]
        await hub.close()

    asyncio.run(main())


def test_a_stream_that_lags_far_behind_keeps_little_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_hub, "_MAX_WAITING", 5)

    async def main() -> list[int]:
        log = Log()
        async with listening(log) as (hub, stream, found):
            log.add(count=100)
            await asyncio.sleep(0.1)
            (listener,) = hub._listeners
            assert len(listener.waiting) <= 5
            found += await take(stream, 100)
        return found

    assert asyncio.run(main()) == list(range(1, 102))


def test_a_database_that_is_away_for_a_moment_costs_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_hub, "RETRY_SEC", 0.01)

    async def main() -> list[int]:
        log = Log()
        async with listening(log) as (_hub, stream, found):
            coming = asyncio.ensure_future(take(stream, 1))
            while log.questions.count((1, "job-a")) < 2:  # after the first event, and as the hub has begun since
                await asyncio.sleep(0.01)
            log.trouble = 3
            log.add()
            found += await coming
        return found

    assert asyncio.run(main()) == [1, 2]


def test_a_stream_ends_with_the_service() -> None:
    async def main() -> list[EventOut]:
        hub, ended = Log().hub(), anyio.Event()
        asyncio.get_running_loop().call_later(0.05, ended.set)
        found = [event async for event in hub.stream(0, None, ended)]
        await hub.close()
        return found

    assert asyncio.run(main()) == []


def test_no_more_streams_than_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_hub, "MAX_STREAMS", 1)

    async def main() -> None:
        log = Log()
        hub = log.hub()
        log.add()
        async with aclosing(hub.stream(0, None, anyio.Event())) as stream:
            await take(stream, 1)
            with pytest.raises(Busy, match="1 event streams are open"):
                hub.refuse_too_many()
        hub.refuse_too_many()
        await hub.close()

    asyncio.run(main())


def test_a_stream_ends_when_its_token_is_revoked_and_others_go_on() -> None:
    async def main() -> tuple[list[int], list[int]]:
        log = Log()
        log.add()
        hub = log.hub()
        streams = [hub.stream(0, None, anyio.Event(), token) for token in ("one", "two", "")]
        for stream in streams:
            await take(stream, 1)
        log.tokens.remove("one")
        ended = [event.id async for event in streams[0]]
        log.add()
        others = [number for stream in streams[1:] for number in await take(stream, 1)]
        for stream in streams:
            await stream.aclose()  # type: ignore[attr-defined]
        await hub.close()
        return ended, others

    assert asyncio.run(main()) == ([], [2, 2])
