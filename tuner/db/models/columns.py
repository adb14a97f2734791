"""Columns that many tables have, and how constraints are called."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import JSON, Column
from sqlmodel import Field, SQLModel

from tuner.db.clock import Now
from tuner.db.types import BigInt, UtcTime

# Named constraints: a migration can only drop what it can name.
SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


def new_id(kind: str) -> str:
    """A short id that says what it names: ``job-3f9c2a71b0``."""
    return f"{kind}-{secrets.token_hex(5)}"


def json_column(**kwargs: Any) -> Any:
    """A list or a mapping, never NULL."""
    return Field(sa_column=Column(JSON, nullable=False), **kwargs)


def stamp_column(index: bool = False) -> Any:
    """When the row came, by the database's clock; the row has it once it is flushed."""
    return Field(default=None, sa_type=UtcTime, nullable=False, index=index, sa_column_kwargs={"default": Now()})


def number_column() -> Any:
    """The row's number, by the database; the row has it once it is flushed."""
    return Field(default=None, primary_key=True, sa_type=BigInt)
