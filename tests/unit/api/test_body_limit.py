"""Bodies are counted and timed as they arrive, whatever the request says of them and whatever the route does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from api import body_limit
from api.body_limit import Limit, LimitBodies, limit_of
from tuner.config import Settings

LIMIT = 1000


async def whole(request: Request) -> bytes:
    return await request.body()


async def never(request: Request) -> bytes:
    return b""


async def swallows_its_end(request: Request) -> bytes:
    try:
        return await request.body()
    except ClientDisconnect:
        return b"all is well"


def served(
    parts: Iterator[bytes], headers: dict[str, str] | None = None, read: Any = whole, grace_sec: float = 30.0
) -> tuple[int, Any, int]:
    """Status and body of the answer to a request of these parts, and how many of them were taken."""
    taken = 0
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        content = await read(Request(scope, receive))
        await PlainTextResponse(f"{len(content)} bytes")(scope, receive, send)

    async def receive() -> Message:
        nonlocal taken
        part = next(parts, None)
        if part is None:
            return {"type": "http.request", "body": b"", "more_body": False}
        if part == b"(silence)":
            await anyio.sleep_forever()
        taken += 1
        return {"type": "http.request", "body": part, "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    scope: Scope = {"type": "http", "method": "POST", "path": "/v1/jobs", "headers": raw}
    limited = LimitBodies(app, lambda path: Limit(LIMIT), grace_sec)
    anyio.run(limited, scope, receive, send)
    assert [message["type"] for message in sent].count("http.response.start") == 1
    assert not sent[-1].get("more_body", False)
    body = b"".join(message.get("body", b"") for message in sent)
    status = sent[0]["status"]
    return status, body.decode() if status == 200 else json.loads(body)["error"], taken


def test_a_body_up_to_the_limit_goes_through() -> None:
    assert served(iter([b"x" * 600, b"x" * 400])) == (200, "1000 bytes", 2)


def test_one_byte_more_is_refused_in_our_shape() -> None:
    status, error, _ = served(iter([b"x" * 600, b"x" * 401]))
    assert (status, error["code"]) == (413, "body_too_large")
    assert error["message"] == "The body of POST /v1/jobs is larger than 1000 bytes."


def test_what_says_it_is_too_long_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_limit, "LINGER_BYTES", 0)
    status, error, taken = served(iter([b"x" * 2000]), {"content-length": "2000"}, never)
    assert (status, error["code"], taken) == (413, "body_too_large", 0)


def test_a_route_that_makes_its_own_of_the_broken_body_is_not_heard() -> None:
    status, error, _ = served(iter([b"x" * 2000]), read=swallows_its_end)
    assert (status, error["code"]) == (413, "body_too_large")


def test_an_endless_body_is_refused_after_a_bounded_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_limit, "LINGER_BYTES", 5000)
    status, _, taken = served(iter(lambda: b"x" * 100, b""))
    assert status == 413
    assert taken <= 11 + 51


def test_silence_in_mid_body_is_refused() -> None:
    status, error, _ = served(iter([b"x", b"(silence)"]), grace_sec=0.05)
    assert (status, error["code"]) == (408, "body_too_slow")
    assert "1 bytes of it did" in error["message"]


def test_a_route_may_take_its_time_before_it_reads() -> None:
    async def late(request: Request) -> bytes:
        await anyio.sleep(0.1)
        return await request.body()

    assert served(iter([b"x"]), read=late, grace_sec=0.05)[0] == 200


def test_a_route_that_fails_by_itself_still_fails() -> None:
    async def fails(request: Request) -> bytes:
        raise LookupError("of its own")

    with pytest.raises(LookupError):
        served(iter([b"x"]), read=fails)


@pytest.mark.parametrize(
    ("path", "size_bytes"),
    [
        ("/v1/jobs", 2**20),
        ("/v1/models", 2**20),
        ("/v1/operators", 8 * 2**20),
        ("/v1/records/import", 12345),
        ("/v1/uploads/mine/files/a/b", 54321),
        ("/v1/uploads", 2**20),
    ],
)
def test_each_route_has_its_limit(path: str, size_bytes: int) -> None:
    assert limit_of(Settings(max_upload_bytes=12345, max_model_bytes=54321), path).size_bytes == size_bytes
