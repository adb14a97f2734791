"""The service itself: which one it is, its devices, who may come in, who coordinates."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import String
from sqlmodel import Field, SQLModel

from tuner.db.models.columns import json_column, stamp_column
from tuner.db.types import UtcTime
from tuner.schemas import TokenScope


class Identity(SQLModel, table=True):
    """One row: what tells this database from others."""

    __tablename__ = "identity"
    id: str = Field(primary_key=True)


class Device(SQLModel, table=True):
    """A device as last seen at the tracker."""

    __tablename__ = "device"
    key: str = Field(primary_key=True)
    state: str = "online"  # online | busy | offline | quarantined | incompatible (another TVM)
    facts: dict[str, Any] = json_column(default_factory=dict)  # cpu, cores, mcpu, memory, tvm version
    crashes: int = 0  # in a row
    last_seen: datetime = stamp_column()


class Token(SQLModel, table=True):
    """A token with a name: what it was made from can't be told from what is kept."""

    __tablename__ = "token"
    name: str = Field(primary_key=True)
    scope: TokenScope = Field(sa_type=String)
    digest: str = Field(unique=True)  # SHA-256, hex
    created_at: datetime = stamp_column()


class Lease(SQLModel, table=True):
    """Who may act for a name until when; one coordinator at a time."""

    __tablename__ = "lease"
    name: str = Field(primary_key=True)
    owner: str
    expires_at: datetime = Field(sa_type=UtcTime)
