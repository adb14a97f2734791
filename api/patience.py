"""Nobody waits for a client that has stopped taking what it asked for."""

from __future__ import annotations

import logging

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("tunesmith.api")

SEND_SEC = 30.0


class LimitPatience:
    """ASGI middleware: each part of an answer is taken within ``send_sec``, or the answer ends there."""

    def __init__(self, app: ASGIApp, send_sec: float = SEND_SEC) -> None:
        self._app = app
        self._send_sec = send_sec

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_in_time(message: Message) -> None:
            try:
                with anyio.fail_after(self._send_sec):
                    await send(message)
            except TimeoutError:
                raise _Stopped from None

        try:
            await self._app(scope, receive, send_in_time if scope["type"] == "http" else send)
        except _Stopped:
            log.warning("%s %s: its client takes nothing any more", scope["method"], scope["path"])


class _Stopped(Exception):
    """A client that takes nothing."""
