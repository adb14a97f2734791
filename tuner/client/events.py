"""A job as it changes: the service's event stream wakes us, the job itself is asked for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tuner.client.http import Client
from tuner.errors import ServiceUnreachable
from tuner.schemas import JobOut

ENDED = frozenset({"succeeded", "failed", "cancelled"})
HEARTBEAT_SEC = 40.0  # a stream this silent is dead: the service sends a comment more often
RETRY_SEC = 1.0
GIVE_UP_SEC = 60.0  # a supervised service is back long before
REFRESH_SEC = 0.25  # a replay of many old events asks for the job a few times only


@dataclass(frozen=True)
class ServerEvent:
    """One event of the stream; ``kind`` is "" for a heartbeat."""

    kind: str = ""
    id: str = ""
    data: dict[str, Any] = field(default_factory=dict)


def parse_events(lines: Iterable[str]) -> Iterator[ServerEvent]:
    """Server-sent events from their lines, as the HTML standard has it (section 9.2.6)."""
    kind, event_id = "message", ""
    data: list[str] = []
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield ServerEvent(kind, event_id, json.loads("\n".join(data)))
            kind, data = "message", []
        elif not name:
            yield ServerEvent()
        elif name == "event":
            kind = value
        elif name == "id":
            event_id = value
        elif name == "data":
            data.append(value)


def follow(
    client: Client,
    job_id: str,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[JobOut]:
    """The job now, then each time it changed, until it ended; survives restarts of the service.

    Raises ``ServiceUnreachable`` after a minute without an answer.
    """
    last_id, answered_at = "", clock()
    while True:
        try:
            job = client.job(job_id)
            yield job
            answered_at = asked_at = clock()
            if job.state in ENDED:
                return
            headers = {"Last-Event-ID": last_id} if last_id else {}
            with client.stream("/v1/events", HEARTBEAT_SEC, params={"job_id": job_id}, headers=headers) as response:
                for event in parse_events(response.iter_lines()):
                    last_id = event.id or last_id
                    answered_at = clock()
                    if event.kind != "state" and answered_at - asked_at < REFRESH_SEC:
                        continue
                    job, asked_at = client.job(job_id), answered_at
                    yield job
                    if job.state in ENDED:
                        return
        except ServiceUnreachable:
            if clock() - answered_at > GIVE_UP_SEC:
                raise
        sleep(RETRY_SEC)
