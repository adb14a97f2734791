"""Records, and what became of a log of them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field


class RecordOut(BaseModel):
    id: int
    workload_id: str
    target_family: str
    device: str
    candidate: str
    attempt: int
    superseded: bool
    mean_us: float | None
    run_secs: list[float]
    error_class: str
    error: str
    tvm_version: str
    canary_ratio: float | None
    measured_on: str
    source: str
    job_id: str | None
    created_at: datetime


class RecordsChanged(BaseModel):
    """How many records a request changed."""

    records: int


class LegacyPoint(BaseModel):
    """A record that was the fastest so far; ``t_sec`` since the log's first."""

    t_sec: float
    best_us: float
    gflops: float | None


class LegacyOut(BaseModel):
    """What the log of another tuner holds of one workload on one target."""

    workload: str
    target: str
    records: int
    failed: int
    best_us: float | None
    gflops: float | None
    curve: list[LegacyPoint]
    model: str  # whose jobs start from it; empty: it is kept as a reference
    replayable: int
    obstacles: list[str]


class ImportOut(BaseModel):
    """What a records import did."""

    imported: int
    duplicates: int
    skipped: int
    errors: list[str]  # first few: "line 12: not JSON"
    legacy: list[LegacyOut] = Field(default_factory=list)  # of a log of another tuner


class LeftOut(BaseModel):
    """The last line of an export that lacks some records, and of no other: how many, and why the first."""

    v: Literal[1] = 1
    left_out: int
    reason: str
