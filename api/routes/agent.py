"""What makes another machine a device: lines to paste, and the wheel that they install."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Request
from fastapi.responses import FileResponse, PlainTextResponse, Response

from api.agent_lines import lines
from api.agent_wheel import Wheel, make_apart
from api.deps import SettingsDep
from tuner.config import DEFAULT_TRACKER_PORT
from tuner.errors import NotFound

router = APIRouter(prefix="/agent", tags=["agent"])

_TEXT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}


async def _wheel(request: Request, settings: SettingsDep) -> Wheel:
    """Made when it is first asked for, and again only if it was removed: the code of a running service stays."""
    state = request.app.state
    async with state.wheels.turn():
        if state.agent_wheel is None or not (settings.agent_dir / state.agent_wheel.name).is_file():
            state.agent_wheel = await run_sync(make_apart, settings.agent_dir)
        wheel: Wheel = state.agent_wheel
    return wheel


WheelDep = Annotated[Wheel, Depends(_wheel)]


@router.get("/", response_class=Response, responses=_TEXT)
async def get_agent(request: Request, settings: SettingsDep, wheel: WheelDep) -> PlainTextResponse:
    """Two commands that make the machine they are pasted on a device of this service."""
    tracker = (settings.tracker_host, settings.tracker_port or DEFAULT_TRACKER_PORT)
    text = lines(urlsplit(str(request.base_url)), wheel, tracker, settings.auth != "none")
    return PlainTextResponse(text, headers={"cache-control": "no-store"})


@router.get("/{name}", response_class=FileResponse)
async def get_agent_wheel(name: str, settings: SettingsDep, wheel: WheelDep) -> FileResponse:
    """The wheel that those commands install, by its name; pip checks it by the SHA-256 that is in them."""
    if name != wheel.name:
        raise NotFound(f"There is no {name[:100]!r} for agents.", "Take the lines of /agent/ anew.")
    return FileResponse(settings.agent_dir / name, media_type="application/zip", filename=name)
