"""The event stream (server-sent events)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Query
from sqlalchemy import Engine
from sse_starlette import EventSourceResponse, ServerSentEvent

from api.deps import EngineDep
from tuner.db import events, jobs
from tuner.db.engine import read
from tuner.schemas import EventOut

router = APIRouter(prefix="/events", tags=["events"])

POLL_SEC = 0.5
HEARTBEAT_SEC = 15
SHUTDOWN_SEC = 1.0  # for streams to end by themselves when the server does


@router.get("", response_class=EventSourceResponse)
def stream_events(
    engine: EngineDep,
    job_id: str | None = None,
    last_event_id: Annotated[int | None, Query(ge=0, description="go on after this event")] = None,
    last_event_header: Annotated[int | None, Header(alias="Last-Event-ID", ge=0)] = None,
) -> EventSourceResponse:
    """Events as they happen: ``id`` is the event's, ``event`` its kind, ``data`` its JSON.

    Goes on after ``Last-Event-ID``. Without it a job's stream starts with all that happened so far, the stream of all
    jobs with what happens next.
    """
    after = last_event_header if last_event_header is not None else last_event_id
    with read(engine) as session:
        if job_id is not None:
            jobs.get(session, job_id)
        if after is None:
            after = 0 if job_id is not None else events.last_id(session)
    shutdown = anyio.Event()
    return EventSourceResponse(
        _stream(engine, after, job_id, shutdown),
        ping=HEARTBEAT_SEC,
        shutdown_event=shutdown,
        shutdown_grace_period=SHUTDOWN_SEC,
    )


async def _stream(
    engine: Engine, after: int, job_id: str | None, shutdown: anyio.Event
) -> AsyncIterator[ServerSentEvent]:
    while not shutdown.is_set():
        batch = await run_sync(_fetch, engine, after, job_id)
        for event in batch:
            after = event.id
            yield ServerSentEvent(event.model_dump_json(), event=event.kind, id=str(event.id))
        if not batch:
            with anyio.move_on_after(POLL_SEC):
                await shutdown.wait()


def _fetch(engine: Engine, after: int, job_id: str | None) -> list[EventOut]:
    with read(engine) as session:
        return [EventOut.model_validate(event, from_attributes=True) for event in events.since(session, after, job_id)]
