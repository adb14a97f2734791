"""The event stream (server-sent events)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, FastAPI, Header, Query, Request
from sqlalchemy import Engine
from sse_starlette import EventSourceResponse, ServerSentEvent

from api.auth import token_of
from api.deps import EngineDep
from api.event_hub import EventHub
from tuner.db import events, jobs
from tuner.db.engine import read
from tuner.schemas import EventOut
from tuner.tokens import digest

router = APIRouter(prefix="/events", tags=["events"])

MAX_ID = 2**63 - 1
HEARTBEAT_SEC = 15
SHUTDOWN_SEC = 1.0  # for streams to end by themselves when the server does


def install(app: FastAPI) -> None:
    """Give the app what its streams listen to."""
    engine = app.state.engine
    app.state.event_hub = EventHub(partial(_fetch, engine), partial(_last_id, engine), app.state.doorkeeper.still_good)


@router.get("", response_class=EventSourceResponse)
async def stream_events(
    request: Request,
    engine: EngineDep,
    job_id: str | None = None,
    last_event_id: Annotated[int | None, Query(ge=0, le=MAX_ID, description="go on after this event")] = None,
    last_event_header: Annotated[int | None, Header(alias="Last-Event-ID", ge=0, le=MAX_ID)] = None,
) -> EventSourceResponse:
    """Events as they happen: ``id`` is the event's, ``event`` its kind, ``data`` its JSON.

    Goes on after ``Last-Event-ID``. Without it a job's stream starts with all that happened so far, the stream of all
    jobs with what happens next. It ends soon after the token that it was asked with is revoked.
    """
    hub: EventHub = request.app.state.event_hub
    hub.refuse_too_many()
    after = last_event_header if last_event_header is not None else last_event_id
    start = await run_sync(_start, engine, job_id, after)
    shutdown = anyio.Event()
    return EventSourceResponse(
        _messages(hub.stream(start, job_id, shutdown, _revocable(request))),
        ping=HEARTBEAT_SEC,
        shutdown_event=shutdown,
        shutdown_grace_period=SHUTDOWN_SEC,
    )


def _revocable(request: Request) -> str:
    """The digest of the token that let a request in, if somebody may revoke it."""
    token = token_of(request) if request.state.caller.name else None
    return digest(token) if token else ""


async def _messages(events: AsyncIterator[EventOut]) -> AsyncIterator[ServerSentEvent]:
    async for event in events:
        yield ServerSentEvent(event.model_dump_json(), event=event.kind, id=str(event.id))


def _start(engine: Engine, job_id: str | None, after: int | None) -> int:
    """Where a stream begins. Raises NotFound for a job that is not there."""
    with read(engine) as session:
        if job_id is not None:
            jobs.get(session, job_id)
        if after is not None:
            return after
        return 0 if job_id is not None else events.last_id(session)


def _fetch(engine: Engine, after: int, job_id: str | None) -> list[EventOut]:
    with read(engine) as session:
        return [EventOut.model_validate(event, from_attributes=True) for event in events.since(session, after, job_id)]


def _last_id(engine: Engine) -> int:
    with read(engine) as session:
        return events.last_id(session)
