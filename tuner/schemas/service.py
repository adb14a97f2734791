"""The service itself: who may come in, and how it is."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, get_args

from pydantic import BaseModel, Field

from tuner.schemas.common import In

TokenScope = Literal["read", "submit", "admin"]
SCOPES: tuple[TokenScope, ...] = get_args(TokenScope)  # each includes those before it


class TokenIn(In):
    """A token to make, for somebody or something."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    scope: TokenScope = Field("submit", description="read: look; submit: add and steer work; admin: everything")


class TokenOut(BaseModel):
    name: str
    scope: TokenScope
    created_at: datetime


class TokenNew(TokenOut):
    """A token that was just made; nobody can be told it again."""

    token: str


class Health(BaseModel):
    """``id`` tells the data directory from others; the rest is told to who shows a token. ``place``: whoever is there
    too sees the files that the service sees."""

    status: Literal["ok", "degraded"]
    id: str = ""
    checks: dict[str, str] = Field(default_factory=dict)
    version: str = ""
    place: str = ""
