"""What every list and every refusal looks like."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

T = TypeVar("T")

# What follows an encoder, as the library names it.
Head = Literal[
    "encoder",
    "sentence-embedding",
    "sequence-classification",
    "token-classification",
    "question-answering",
    "multiple-choice",
    "masked-lm",
]

# What products are computed in; sums are of 32 bits, and all else of float32.
Precision = Literal["fp32", "bf16", "fp16", "int8"]
# What is asked for: one of them, or the quickest of those that are near enough to float32.
PrecisionWish = Literal["fp32", "bf16", "fp16", "int8", "fastest"]

# How candidates are found: as the search sees fit, among spaces of our own only, by MetaSchedule only, or by chance.
Strategy = Literal["auto", "tiles", "evolution", "random"]


class In(BaseModel):
    """What comes in: a field that is not known is refused."""

    model_config = ConfigDict(extra="forbid")


class Page(BaseModel, Generic[T]):
    """One page of a list; ``total`` counts up to 10,000, ``cursor`` asks for the next page (null: there is none)."""

    items: list[T]
    total: int
    limit: int
    offset: int
    cursor: str | None = None


class ErrorBody(BaseModel):
    """The inside of every error answer."""

    code: str
    message: str
    hint: str = ""


class ErrorOut(BaseModel):
    """Every error answer."""

    error: ErrorBody
