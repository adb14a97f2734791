"""No request body is larger than its route allows, or slower than any network: counted and timed as it arrives."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import errors
from tuner.config import Settings
from tuner.errors import BodyTooLarge, BodyTooSlow, TunerError

MIB = 1024 * 1024
GRACE_SEC = 30.0  # what any body may take to arrive; on top of it a second for each ...
SLOWEST_BYTES_PER_SEC = 16 * 1024
LINGER_SEC = 2.0  # how long, and how much of, a refused body is thrown away for its sender to read the refusal
LINGER_BYTES = 16 * MIB


@dataclass(frozen=True)
class Limit:
    """The most bytes that a body may have, and what to do about it."""

    size_bytes: int
    hint: str = "Send less."


def limit_of(settings: Settings, path: str) -> Limit:
    """What a route takes."""
    match path:
        case "/v1/operators":
            return Limit(8 * MIB, "Write the operator in fewer statements.")
        case "/v1/records/import":
            return Limit(settings.max_upload_bytes, "Split it, or set TUNER_MAX_UPLOAD_BYTES higher.")
    if path.startswith("/v1/uploads/") and "/files/" in path:
        return Limit(settings.max_model_bytes, "Send it in parts, or set TUNER_MAX_MODEL_BYTES higher.")
    return Limit(MIB)


class LimitBodies:
    """ASGI middleware: answers ``body_too_large`` or ``body_too_slow`` in the route's place, whether or not the
    request says how long it is, and whatever the route makes of a body that breaks off."""

    def __init__(self, app: ASGIApp, limit_of: Callable[[str], Limit], grace_sec: float = GRACE_SEC) -> None:
        self._app = app
        self._limit_of = limit_of
        self._grace_sec = grace_sec

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        body = _Body(scope, receive, send, self._limit_of(scope["path"]), self._grace_sec)
        if body.refusal is None:
            try:
                await self._app(scope, body.receive, body.send)
            except Exception:
                if body.refusal is None:
                    raise
        if body.refusal is not None and not body.answered:
            await body.refuse(body.refusal)
        return None


class _Body:
    def __init__(self, scope: Scope, receive: Receive, send: Send, limit: Limit, grace_sec: float) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._limit = limit
        self._received = 0
        self._left_sec = grace_sec
        self._is_complete = False
        self.answered = False
        self.refusal: TunerError | None = None
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > limit.size_bytes:
            self.refusal = self._too_large()

    async def receive(self) -> Message:
        """The next part; an end of the connection in place of what is refused."""
        if self._is_complete:  # what comes now is the end of the connection, whenever that is
            return await self._receive()
        message = await self._next_part() if self.refusal is None else None
        if message is None:
            return {"type": "http.disconnect"}
        return message

    async def _next_part(self) -> Message | None:
        began = time.monotonic()
        message: Message | None = None
        with anyio.move_on_after(max(0.0, self._left_sec)):
            message = await self._receive()
        if message is None:
            self.refusal = BodyTooSlow(
                f"The body of {self._what} did not arrive in time: {self._received} bytes of it did.", "Send it again."
            )
            return None
        size = len(message.get("body", b""))
        self._received += size
        self._left_sec += size / SLOWEST_BYTES_PER_SEC - (time.monotonic() - began)
        self._is_complete = not message.get("more_body", False)
        if self._received > self._limit.size_bytes:
            self.refusal = self._too_large()
            return None
        return message

    async def send(self, message: Message) -> None:
        """Pass the route's answer on, but for one that is about a body it never had."""
        if self.refusal is None or self.answered:
            self.answered = True
            await self._send(message)

    async def refuse(self, refusal: TunerError) -> None:
        """Answer at once, then let the client finish what it is sending: one that only reads afterwards, as most do,
        would see a broken connection and no reason."""
        response = errors.answer(refusal, headers={"connection": "close"})
        start = {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
        await self._send(start)
        await self._send({"type": "http.response.body", "body": response.body, "more_body": True})
        left = LINGER_BYTES
        with anyio.move_on_after(LINGER_SEC):
            while left > 0 and not self._is_complete:
                message = await self._receive()
                left -= len(message.get("body", b""))
                self._is_complete = not message.get("more_body", False)
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    @property
    def _what(self) -> str:
        return f"{self._scope['method']} {self._scope['path']}"

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(
            f"The body of {self._what} is larger than {self._limit.size_bytes} bytes.", self._limit.hint
        )
