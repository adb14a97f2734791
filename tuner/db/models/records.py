"""Kernels, what was measured of them, and how fast the device was then."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from tuner.db.models.columns import json_column, number_column, stamp_column
from tuner.db.types import BigInt

IMPORTED = text("source = 'imported'")  # a condition on such records must be these words for the index to be used


class Workload(SQLModel, table=True):
    """One TIR function as a tuning task; shared between models and jobs."""

    __tablename__ = "workload"
    __table_args__ = (Index(None, "name", "flops", "weight_bytes", "id"),)
    id: str = Field(primary_key=True)  # "wl-" + structural hash in hex
    name: str
    summary: str  # "float32[128,768] x float32[768,768] -> float32[128,768]"
    flops: float
    weight_bytes: int = Field(default=0, sa_type=BigInt)  # bytes of layout-free (constant) arguments
    tir: str  # JSON of an IRModule whose one PrimFunc is "main"
    created_at: datetime = stamp_column()


class Record(SQLModel, table=True):
    """One attempt at a candidate and what became of it. Rows are added, never replaced.

    Of a candidate's attempts one counts: the latest that gave a time, else the latest; the others are ``superseded``.
    Only a seed (neither a time nor an error) goes when it is measured. The best of a round turns ``wrong`` when its
    outputs are.
    """

    __tablename__ = "record"
    __table_args__ = (
        UniqueConstraint("workload_id", "target_family", "candidate", "attempt"),
        # What a search asks of a workload is answered from this index alone: traces make the rows long.
        Index(
            "ix_record_lookup",
            "workload_id",
            "target_family",
            "superseded",
            "error_class",
            "mean_sec",
            "id",
            "candidate",
            "job_id",
            "attempt",
            "created_at",
        ),
        Index(None, "workload_id", "target_family", "id"),  # what is new since somebody looked
        Index("ix_record_imported", "workload_id", "target_family", sqlite_where=IMPORTED, postgresql_where=IMPORTED),
        # Lists, fastest first, and how long they are.
        Index(None, "mean_sec", "id", "error_class"),
        Index(None, "target_family", "mean_sec", "id", "error_class"),
        Index(None, "job_id", "mean_sec", "id", "error_class"),
    )
    id: int | None = number_column()
    workload_id: str = Field(foreign_key="workload.id")
    target_family: str
    target_json: dict[str, Any] = json_column(default_factory=dict)
    device: str = ""
    candidate: str  # structural hash of the scheduled module, hex
    attempt: int = 1
    superseded: bool = False  # another attempt counts, or the candidate was opened again
    trace: str = ""  # JSON of TuningRecord.as_json() without post-processing
    run_secs: list[float] = json_column(default_factory=list)
    mean_sec: float | None = None  # median of run_secs (of an Ansor log's the mean); None: it failed, or is a seed
    error_class: str = ""  # "" | build | build_timeout | run | crash | timeout (of the session) | wrong
    error: str = ""
    tvm_version: str = ""
    evaluator: dict[str, Any] = json_column(default_factory=dict)
    canary_ratio: float | None = None  # canary now / what it usually takes on this device
    measured_on: str = ""  # the device's CPU, as it was told in the session that measured
    checked: bool = False  # was seen to compute what the plain schedule computes, on a device of the family
    source: str = "measured"  # measured | imported | shipped
    job_id: str | None = None
    round_id: str | None = Field(default=None, index=True)
    created_at: datetime = stamp_column()


class CanaryTime(SQLModel, table=True):
    """What the reference kernel took at the start of a session on a device: its usual speed is the median of these."""

    __tablename__ = "canary_time"
    __table_args__ = (Index(None, "device", "target_family", "id"),)
    id: int | None = number_column()
    device: str
    target_family: str
    seconds: float
    created_at: datetime = stamp_column()


class FinalTimes(SQLModel, table=True):
    """What finals timed on a device. The key is all that the times depend on: kernels, sizes, device, how."""

    __tablename__ = "final_times"
    key: str = Field(primary_key=True)  # SHA-256, hex
    run_secs: dict[str, list[float]] = json_column(default_factory=dict)  # by kernel: structural hash of its module
    canary_secs: list[float] = json_column(default_factory=list)  # what the reference kernel took meanwhile
    created_at: datetime = stamp_column(index=True)
