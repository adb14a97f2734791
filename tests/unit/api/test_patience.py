from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import anyio
import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from api.patience import LimitPatience

SCOPE: Scope = {"type": "http", "method": "GET", "path": "/v1/records/export", "headers": [], "asgi": {}}


def test_a_client_that_stops_taking_ends_its_answer_and_what_it_holds(caplog: pytest.LogCaptureFixture) -> None:
    closed: list[bool] = []

    def blocks() -> Iterator[bytes]:
        try:
            while True:
                yield b"x"
        finally:
            closed.append(True)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await StreamingResponse(blocks())(scope, receive, send)

    async def receive() -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)
        if len(sent) > 3:
            await anyio.sleep_forever()

    with caplog.at_level(logging.WARNING, "tunesmith.api"):
        anyio.run(LimitPatience(app, send_sec=0.05), SCOPE, receive, send)
    assert len(sent) == 4
    assert "takes nothing any more" in caplog.text


def test_who_takes_each_part_in_time_may_take_all_day(monkeypatch: pytest.MonkeyPatch) -> None:
    passed_sec = 0.0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        real = loop.time
        monkeypatch.setattr(loop, "time", lambda: real() + passed_sec)
        await Response(b"whole")(scope, receive, send)
        assert Request(scope).method == "GET"

    sent: list[Message] = []

    async def send(message: Message) -> None:
        nonlocal passed_sec
        passed_sec += 400.0
        await anyio.sleep(0.01)  # long enough for whoever waits for that time
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    anyio.run(LimitPatience(app, send_sec=600.0), SCOPE, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


def test_an_error_of_a_route_is_its_own() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError

    async def nothing(*_: Message) -> Message:
        return {"type": "http.request"}

    with pytest.raises(LookupError):
        anyio.run(LimitPatience(app), SCOPE, nothing, nothing)
