"""A job as it goes on: the service's event stream, opened again after the last event whenever it breaks."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from tuner.client import calls
from tuner.errors import ServiceUnreachable
from tuner.schemas import EventOut, JobOut

if TYPE_CHECKING:
    from tuner.client.aio import AsyncClient
    from tuner.client.http import Client

ENDED = frozenset({"succeeded", "failed", "cancelled"})
HEARTBEAT_SEC = 40.0  # a stream this silent is dead: the service sends a comment more often
REPLAY_SEC = 5.0  # what happened to a job that has ended comes at once
RETRY_SEC = 1.0
GIVE_UP_SEC = 60.0  # a supervised service is back long before
REFRESH_SEC = 0.25  # a replay of many old events asks for the job a few times only


@dataclass(frozen=True)
class ServerEvent:
    """One event of the stream; ``kind`` is "" for a heartbeat."""

    kind: str = ""
    id: str = ""
    data: dict[str, Any] = field(default_factory=dict)


class Parser:
    """Server-sent events from their lines, as the HTML standard has it (section 9.2.6)."""

    def __init__(self) -> None:
        self._kind, self._id = "message", ""
        self._data: list[str] = []

    def feed(self, line: str) -> ServerEvent | None:
        """The event that ends with this line, if one does."""
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            kind, data = self._kind, self._data
            self._kind, self._data = "message", []
            return ServerEvent(kind, self._id, json.loads("\n".join(data))) if data else None
        if not name:
            return ServerEvent()
        if name == "event":
            self._kind = value
        elif name == "id":
            self._id = value
        elif name == "data":
            self._data.append(value)
        return None


def parse_events(lines: Iterable[str]) -> Iterator[ServerEvent]:
    """The events of a stream's lines."""
    parser = Parser()
    return (event for line in lines if (event := parser.feed(line)))


class _Watch:
    """How far a job's events were heard, and whether there is hope for more."""

    def __init__(self, job_id: str, clock: Callable[[], float]) -> None:
        self._job_id, self._clock = job_id, clock
        self._last_id, self._answered_at, self._has_ended = "", clock(), False

    def job(self, job: JobOut) -> JobOut:
        self._answered_at, self._has_ended = self._clock(), job.state in ENDED
        return job

    def event(self, event: ServerEvent) -> ServerEvent:
        self._answered_at, self._last_id = self._clock(), event.id or self._last_id
        return event

    def stream(self) -> dict[str, Any]:
        """The stream that goes on after what was heard."""
        headers = {"Last-Event-ID": self._last_id} if self._last_id else {}
        silence_sec = REPLAY_SEC if self._has_ended else HEARTBEAT_SEC
        options = {"params": {"job_id": self._job_id}, "headers": headers}
        return {"path": "/v1/events", "read_timeout_sec": silence_sec, **options}

    def is_over(self, error: ServiceUnreachable) -> bool:
        """Was that all? Raises ``error`` once nobody has answered for long."""
        if self._has_ended and isinstance(error.__cause__, httpx.ReadTimeout):
            return True
        if self._clock() - self._answered_at > GIVE_UP_SEC:
            raise error
        return False


def _signals(
    client: Client, job_id: str, clock: Callable[[], float], sleep: Callable[[float], None]
) -> Iterator[JobOut | ServerEvent]:
    """The job at each connection, then the events and heartbeats that come over it."""
    watch = _Watch(job_id, clock)
    while True:
        try:
            yield watch.job(client.ask_once(calls.job(job_id)))
            with client.stream(**watch.stream()) as response:
                for event in parse_events(response.iter_lines()):
                    yield watch.event(event)
        except ServiceUnreachable as error:
            if watch.is_over(error):
                return
        sleep(RETRY_SEC)


def follow(
    client: Client,
    job_id: str,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[EventOut]:
    """What happens to a job, to the event that says it ended.

    Raises ``ServiceUnreachable`` after a minute without an answer.
    """
    for signal in _signals(client, job_id, clock, sleep):
        if (event := _event_of(signal)) is not None:
            yield event
            if _ends(event):
                return


async def follow_async(client: AsyncClient, job_id: str) -> AsyncIterator[EventOut]:
    """The same, on an event loop."""
    import anyio

    watch = _Watch(job_id, time.monotonic)
    while True:
        try:
            watch.job(await client.ask_once(calls.job(job_id)))
            async with client.stream(**watch.stream()) as response:
                parser = Parser()
                async for line in response.aiter_lines():
                    if (signal := parser.feed(line)) and (event := _event_of(watch.event(signal))) is not None:
                        yield event
                        if _ends(event):
                            return
        except ServiceUnreachable as error:
            if watch.is_over(error):
                return
        await anyio.sleep(RETRY_SEC)


def progress(
    client: Client,
    job_id: str,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[JobOut]:
    """The job now, then each time it changed, until it ended.

    Raises ``ServiceUnreachable`` after a minute without an answer.
    """
    asked_at = clock()
    for signal in _signals(client, job_id, clock, sleep):
        if isinstance(signal, JobOut):
            job = signal
        elif signal.kind != "state" and clock() - asked_at < REFRESH_SEC:
            continue
        else:
            try:
                job = client.ask_once(calls.job(job_id))
            except ServiceUnreachable:
                continue  # then the stream has broken too, and the next connection asks again
        asked_at = clock()
        yield job
        if job.state in ENDED:
            return


def _event_of(signal: JobOut | ServerEvent) -> EventOut | None:
    is_event = isinstance(signal, ServerEvent) and signal.kind
    return EventOut.model_validate(signal.data) if is_event else None  # type: ignore[union-attr]


def _ends(event: EventOut) -> bool:
    return event.kind == "state" and event.data.get("state") in ENDED
