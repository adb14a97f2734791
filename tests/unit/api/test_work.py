from __future__ import annotations

import threading
from collections.abc import Callable

import anyio
import pytest
from fastapi import Request
from starlette.types import Message

from api.work import while_connected


def request(left: anyio.Event) -> Request:
    async def receive() -> Message:
        await left.wait()
        return {"type": "http.disconnect"}

    return Request({"type": "http"}, receive)


def until_unwanted(still_wanted: Callable[[], bool]) -> str:
    pause = threading.Event()
    while still_wanted():
        pause.wait(0.001)
    return "left off"


def test_work_is_told_when_its_client_has_left() -> None:
    async def main() -> str:
        left = anyio.Event()
        left.set()
        return await while_connected(request(left), until_unwanted)

    assert anyio.run(main) == "left off"


def test_work_whose_client_stays_is_done() -> None:
    async def main() -> bool:
        return await while_connected(request(anyio.Event()), lambda still_wanted: still_wanted())

    assert anyio.run(main) is True


def test_what_work_raises_is_raised() -> None:
    def fail(still_wanted: Callable[[], bool]) -> None:
        raise LookupError("of its own")

    async def main() -> None:
        await while_connected(request(anyio.Event()), fail)

    with pytest.raises(LookupError, match="of its own"):
        anyio.run(main)
