"""Models and operators."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from tuner.schemas.common import Head, In


class ModelIn(In):
    """A model to add: a preset name, a hub id or a folder on the service's machine."""

    name: str = Field(min_length=1, max_length=400)
    head: Head | None = None
    allow_pickle: bool = False


class ModelOut(BaseModel):
    id: str
    name: str
    source: str
    location: str
    family: str
    head: str
    max_seq_len: int | None
    weights: str
    created_at: datetime


class OperatorIn(In):
    """An operator of the user's own: a PrimFunc of float32 tensors, its result last, as TVM's JSON."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_]*$")
    tir: str = Field(min_length=2, max_length=4_000_000)
    constants: list[int] = Field(default_factory=list, description="positions of inputs that are weights")


class OperatorOut(BaseModel):
    """An operator that can be tuned by name: ``op:NAME:`` and its parameters, separated by commas."""

    name: str
    parameters: list[str]
    description: str
