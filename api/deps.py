"""What routes are given: settings, database, the page of a list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Query, Request
from sqlalchemy import Engine

from tuner.config import Settings
from tuner.db.paging import MOST_COUNTED, Found, Window
from tuner.errors import InvalidInput
from tuner.schemas import Page
from tuner.uploads.desk import Desk, Sender

MAX_OFFSET = MOST_COUNTED  # rows that are skipped have to be counted first: a cursor goes further

T = TypeVar("T")


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


def _sees_details(request: Request) -> bool:
    return request.state.caller is not None


Limit = Annotated[int, Query(ge=1, le=1000, description="rows at most")]
Offset = Annotated[int, Query(ge=0, le=MAX_OFFSET, description="rows to skip")]
Cursor = Annotated[str | None, Query(max_length=1000, description="`cursor` of the page before, instead of `offset`")]


def _window(usual_limit: int) -> Callable[..., Window]:
    def window(limit: Limit = usual_limit, offset: Offset = 0, cursor: Cursor = None) -> Window:
        if cursor and offset:
            raise InvalidInput("A page is asked for by `cursor` or by `offset`.", "Leave out one of them.")
        return Window(limit, offset, cursor)

    return window


def page_of(items: list[T], found: Found[Any], window: Window) -> Page[T]:
    """A page of a list as it is answered; ``items`` are what its rows are shown as."""
    return Page(items=items, total=found.total, limit=window.limit, offset=window.offset, cursor=found.cursor)


WindowDep = Annotated[Window, Depends(_window(50))]
LongWindowDep = Annotated[Window, Depends(_window(100))]
SettingsDep = Annotated[Settings, Depends(_settings)]
EngineDep = Annotated[Engine, Depends(_engine)]


def _caller_name(request: Request) -> str:
    name: str = request.state.caller.name
    return name


def _desk(request: Request) -> Desk:
    return Desk(request.app.state.settings, request.app.state.engine)


def _sender(request: Request) -> Sender:
    return Sender(request.state.caller.name, request.state.caller.scope)


DeskDep = Annotated[Desk, Depends(_desk)]
SenderDep = Annotated[Sender, Depends(_sender)]
CallerNameDep = Annotated[str, Depends(_caller_name)]  # of the token; empty: the data directory's own
SeesDetailsDep = Annotated[bool, Depends(_sees_details)]  # of what is open to everybody
