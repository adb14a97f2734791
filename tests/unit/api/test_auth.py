"""Who sends a request is settled before any of its body is read."""

from __future__ import annotations

from typing import Any

import anyio
from sqlalchemy import create_engine

from api.auth import AskForToken, Doorkeeper
from tuner.config import Settings
from tuner.tokens import own_token


def test_nothing_of_a_strangers_body_is_read(settings: Settings) -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    async def app(*_: object) -> None:
        raise AssertionError("the route was reached")

    async def ask() -> None:
        middleware = AskForToken(app, Doorkeeper(settings, create_engine("sqlite://")))
        scope = {"type": "http", "method": "POST", "path": "/v1/jobs", "query_string": b"", "headers": []}
        await middleware(scope, receive, send)

    anyio.run(ask)
    assert sent[0]["status"] == 401
    assert own_token(settings.token_file)
