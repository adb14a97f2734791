"""Models that are uploaded; the files lie below the data directory."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String
from sqlmodel import Field, SQLModel

from tuner.db.models.columns import json_column, new_id, stamp_column
from tuner.db.types import BigInt
from tuner.schemas import UploadState


class Upload(SQLModel, table=True):
    """What was declared of an upload. How much of it has come is told by its files alone."""

    __tablename__ = "upload"
    __table_args__ = (Index(None, "created_at", "id"), Index(None, "state", "used_at"))
    id: str = Field(default_factory=lambda: new_id("upl"), primary_key=True)
    name: str = Field(unique=True)
    owner: str = ""  # name of the token it came with; empty: the data directory's own
    state: UploadState = Field(default="receiving", sa_type=String)
    digest: str = Field(index=True)  # of paths, sizes and contents, as declared
    size_bytes: int = Field(sa_type=BigInt)
    files: list[dict[str, Any]] = json_column(default_factory=list)  # path, size_bytes, sha256
    left_out: list[str] = json_column(default_factory=list)  # of an archive: what no model needs
    created_at: datetime = stamp_column()
    used_at: datetime = stamp_column()  # by a part that came, or by a job's submit
