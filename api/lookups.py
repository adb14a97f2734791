"""What a model's name means, looked up on the service's machine: beside everything else, and never for long.

The files are the user's, on whatever file system they lie. A look at one that does not answer can't be ended; it keeps
its thread, of which there are a few of their own, and nobody waits for it any more.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated

from fastapi import Depends, FastAPI, Request

from api.deps import EngineDep, SettingsDep
from tuner.errors import ModelUnreachable
from tuner.importers.source import ModelSource
from tuner.jobs.submit import named, source_of
from tuner.schemas import JobIn, ModelIn

DEADLINE_SEC = 10.0
AT_ONCE = 4


class Lookups:
    """Runs ``AT_ONCE`` look-ups at a time, each in a thread that ends when it does; the others wait their turn."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(AT_ONCE)

    async def run(self, name: str, find: Callable[[], ModelSource]) -> ModelSource:
        """What ``find`` gives or raises. Raises ModelUnreachable when that takes too long."""
        try:
            return await asyncio.wait_for(self._look(find), DEADLINE_SEC)
        except asyncio.TimeoutError:
            raise ModelUnreachable(
                f"Looking for {name!r} took longer than {DEADLINE_SEC:g} s.",
                "Does its file system answer (`ls` its folder)? Give a folder on a disk of the service's machine.",
            ) from None

    async def _look(self, find: Callable[[], ModelSource]) -> ModelSource:
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[ModelSource] = loop.create_future()

        def settle(found: ModelSource | Exception) -> None:
            self._free.release()
            if answer.done():  # nobody waits any more
                return
            if isinstance(found, Exception):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        def work() -> None:
            found: ModelSource | Exception
            try:
                found = find()
            except Exception as error:  # raised again by who waits
                found = error
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(settle, found)

        threading.Thread(target=work, name="lookup", daemon=True).start()
        return await answer


def install(app: FastAPI) -> None:
    """Give the app its look-ups."""
    app.state.lookups = Lookups()


async def _of_job(request: Request, body: JobIn, engine: EngineDep, settings: SettingsDep) -> ModelSource:
    lookups: Lookups = request.app.state.lookups
    return await lookups.run(body.model, lambda: source_of(settings, engine, body))


async def _of_model(request: Request, body: ModelIn, engine: EngineDep, settings: SettingsDep) -> ModelSource:
    lookups: Lookups = request.app.state.lookups
    return await lookups.run(body.name, lambda: named(settings, engine, body.name, body.allow_pickle, body.head))


JobSource = Annotated[ModelSource, Depends(_of_job)]
NewSource = Annotated[ModelSource, Depends(_of_model)]
