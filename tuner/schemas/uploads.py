"""Uploads: files of a model on their way to the service, and there."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from tuner.schemas.common import In

UploadState = Literal["receiving", "complete"]


class UploadFileIn(In):
    """A file to come."""

    path: str = Field(min_length=1, max_length=200, description="name, or folder/name")
    size_bytes: int = Field(ge=0, lt=2**62)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class UploadIn(In):
    """An upload to begin: the files of a model, or one archive of its folder (.zip, .tar, .tar.gz, .tgz)."""

    name: str = Field(
        min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="jobs say upload:NAME"
    )
    files: list[UploadFileIn] = Field(min_length=1, max_length=500)


class UploadFileOut(BaseModel):
    """A file; ``received_bytes`` is where its next part begins."""

    path: str
    size_bytes: int
    sha256: str
    received_bytes: int


class UploadOut(BaseModel):
    """An upload; ``model`` is what a job says. ``files`` are those of the model, once an archive is unpacked."""

    id: str
    name: str
    model: str
    owner: str  # name of the token it came with; empty: the data directory's own
    state: UploadState
    size_bytes: int
    received_bytes: int
    files: list[UploadFileOut]
    left_out: list[str]  # of an archive: what no model needs
    created_at: datetime
    used_at: datetime  # by a part that came, or by a job's submit
