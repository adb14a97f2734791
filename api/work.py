"""Work that nobody waits for any more is left off."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from anyio.to_thread import run_sync
from fastapi import Request

T = TypeVar("T")


async def while_connected(request: Request, work: Callable[[Callable[[], bool]], T]) -> T:
    """What ``work`` returns, run in a thread; it is given a function that says whether its client is still there.

    The request's body must have been read.
    """
    has_left = threading.Event()

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        has_left.set()

    watching = asyncio.create_task(watch())
    try:
        return await run_sync(work, lambda: not has_left.is_set())
    finally:
        has_left.set()  # a server that stops cancels us, and the thread goes by this
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
