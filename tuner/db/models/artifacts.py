"""What jobs give: artifacts, what proves them, how fast they were."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String
from sqlmodel import Field, SQLModel

from tuner.db.models.columns import json_column, number_column, stamp_column
from tuner.db.types import BigInt, UtcTime
from tuner.schemas import CheckState


class Artifact(SQLModel, table=True):
    """A compiled, verified module as a tar; its id is derived from its content."""

    __tablename__ = "artifact"
    __table_args__ = (Index(None, "created_at", "id"),)
    id: str = Field(primary_key=True)  # "art-" + first 20 hex digits of the manifest's content hash
    job_id: str = Field(index=True)  # the job that made it first
    path: str  # relative to the artifacts folder
    size_bytes: int = Field(sa_type=BigInt)
    sha256: str
    manifest: dict[str, Any] = json_column(default_factory=dict)
    created_at: datetime = stamp_column()
    evicted_at: datetime | None = Field(default=None, sa_type=UtcTime)  # when its file went, by the user's rule


class Evidence(SQLModel, table=True):
    """The manifest of a job's module as that job made and measured it; its artifact may have been there before."""

    __tablename__ = "evidence"
    job_id: str = Field(foreign_key="job.id", primary_key=True)
    manifest: dict[str, Any] = json_column(default_factory=dict)


class DeviceCheck(SQLModel, table=True):
    """Whether an artifact loads and runs on a device of the fleet, and how fast; ``found`` says what came of it."""

    __tablename__ = "device_check"
    artifact_id: str = Field(foreign_key="artifact.id", primary_key=True)
    device_key: str = Field(primary_key=True)
    state: CheckState = Field(default="wanted", sa_type=String)
    found: dict[str, Any] = json_column(default_factory=dict)  # machine, median_ms, ..., or error
    asked_at: datetime = stamp_column()
    ended_at: datetime | None = Field(default=None, sa_type=UtcTime)


class Benchmark(SQLModel, table=True):
    """One variant's latency in one interleaved comparison."""

    __tablename__ = "benchmark"
    __table_args__ = (Index(None, "created_at", "id"),)
    id: int | None = number_column()
    job_id: str = Field(foreign_key="job.id", index=True)
    artifact_id: str | None = Field(default=None, index=True)
    variant: str  # tuned | untuned | torch-eager | torch-sdpa | ...
    median_ms: float
    p10_ms: float
    p90_ms: float
    mean_ms: float | None = None  # with the next: None in rows of an earlier release
    std_ms: float | None = None
    load_ms: float | None = None  # this and the next three: of a contestant in a process of its own
    first_ms: float | None = None  # its first call; of texts the call of one, as of the next
    after_idle_ms: float | None = None
    memory_bytes: int | None = Field(default=None, sa_type=BigInt)  # the most that its process held
    precision: str = ""  # what its products were computed in; empty in rows of an earlier release
    max_abs_error: float | None = None  # from PyTorch's outputs
    n: int
    rounds_ms: list[float] = json_column(default_factory=list)  # medians of the rounds, in their order
    threads: int
    machine: str
    created_at: datetime = stamp_column()
