"""Jobs: of which model, with what rounds, what happened."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from tuner.db.models.columns import json_column, new_id, number_column, stamp_column
from tuner.db.types import UtcTime


class Model(SQLModel, table=True):
    """A source of a network: a preset, a local folder or a hub id."""

    __tablename__ = "model"
    __table_args__ = (UniqueConstraint("name", "head"),)
    id: str = Field(default_factory=lambda: new_id("mdl"), primary_key=True)
    name: str  # what the user typed: preset, hub id, folder or file
    source: str  # preset | hub | folder | file
    location: str  # folder or hub id
    family: str = ""  # bert, distilbert, ... ; empty until known
    head: str = "encoder"  # as tuner.schemas.common.Head
    max_seq_len: int | None = None
    weights: str = "unknown"  # pretrained | random | unknown
    allow_pickle: bool = False
    created_at: datetime = stamp_column()


class Job(SQLModel, table=True):
    """One wish: this model, this shape, this target, this budget."""

    __tablename__ = "job"
    __table_args__ = (
        Index(None, "created_at", "id"),
        Index(None, "state", "created_at", "id"),
        Index(None, "model_id", "created_at", "id"),
        Index(None, "target", "created_at", "id"),
        Index(None, "thinned", "finished_at"),
    )
    id: str = Field(default_factory=lambda: new_id("job"), primary_key=True)
    model_id: str = Field(foreign_key="model.id")
    source_json: dict[str, Any] = json_column(default_factory=dict)  # what its name meant: tuner.importers.source
    snapshot: str | None = None  # folder of its files below sources/; empty: it has none; None: not fetched yet
    target: str  # name as asked for: local, ...
    target_json: dict[str, Any] = json_column(default_factory=dict)  # the TVM target once resolved
    target_family: str = ""  # key records are shared by, once resolved
    batch: int = 1
    seq_len: int = 128
    lengths: list[int] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))  # of texts, sorted
    shape_is_open: bool = False  # nobody asked for texts: it becomes one shape if the model, once known, takes none
    precision: str = "fp32"  # of its products: tuner.schemas.common.PrecisionWish
    max_drop: float | None = None  # what a lower precision may lose at most, 0..1; None: what is always allowed
    budget_trials: int
    budget_sec: float | None = None
    against: list[str] = json_column(default_factory=list)  # rivals that were asked for: tuner.bench.against
    absent: dict[str, str] = json_column(default_factory=dict)  # of them, why they were not timed
    only: list[str] = json_column(default_factory=list)  # kernels that are tuned, by name: tuner.jobs.choice
    skip: list[str] = json_column(default_factory=list)  # and those that are not
    repeat: int | None = None  # times a candidate is timed; with the next two None: as usual, tuner.jobs.terms
    min_repeat_ms: int | None = None
    rounds: int | None = None  # of the comparison
    strategy: str = "auto"  # how candidates are found: tuner.schemas.common.Strategy
    timeout_sec: int | None = None  # of a candidate's build, and of a session in which some are timed
    cold: bool = False  # ignore records that are already known
    compile_only: bool = False  # from known records and default schedules, without tuning and without a device
    priority: int = 0
    state: str = "submitted"
    wish: str = ""  # "" | cancel | pause | resume: what the user asked for and the coordinator has yet to do
    message: str = ""  # what it is doing or waiting for, for people
    progress: float = 0.0  # 0..1
    import_key: str = ""  # of the import that the job made, which its later stages use
    attempts: int = 0  # of the present stage
    stage_stamp: str = ""  # when it was started: tuner.jobs.moments
    trials: int = 0  # measured so far by this job
    tuning_sec: float = 0.0  # spent in rounds
    predicted_ms: float | None = None  # sum over workloads of weight x best
    latency_ms: float | None = None  # measured, of the whole module
    error: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON))
    artifact_id: str | None = Field(default=None, index=True)
    weights: str = "unknown"  # pretrained | random
    created_at: datetime = stamp_column()
    started_at: datetime | None = Field(default=None, sa_type=UtcTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcTime)
    thinned: bool = False  # of its events only those that are kept for good are left


class JudgedTexts(SQLModel, table=True):
    """The user's texts on which a job at a lower precision is compared with float32."""

    __tablename__ = "judged_texts"
    job_id: str = Field(foreign_key="job.id", primary_key=True)
    texts: list[str] = json_column(default_factory=list)


class JobWorkload(SQLModel, table=True):
    """A workload as it occurs in one job's model."""

    __tablename__ = "job_workload"
    job_id: str = Field(foreign_key="job.id", primary_key=True)
    workload_id: str = Field(foreign_key="workload.id", primary_key=True)
    position: int = 0  # order of first use in the graph
    weight: int = 1  # launches per inference
    tunable: bool = True
    trials: int = 0  # measured by this job
    untuned_us: float | None = None
    best_us: float | None = None


class Round(SQLModel, table=True):
    """One batch of candidates of one workload: planned, run, done or lost."""

    __tablename__ = "round"
    __table_args__ = (Index(None, "job_id", "number", "canary_ratio"),)
    id: str = Field(default_factory=lambda: new_id("rnd"), primary_key=True)
    job_id: str = Field(foreign_key="job.id")
    workload_id: str = Field(foreign_key="workload.id", index=True)
    state: str = Field(default="running", index=True)  # running | done | lost | failed
    batch: int = 16
    number: int = 0  # of the job's rounds, from 1; 0: of a release that did not count
    stamp: str = ""  # when it was started: tuner.jobs.moments
    measured: int = 0
    failed: int = 0
    exhausted: bool = False  # its search has nothing left to try
    best_us: float | None = None
    canary_ratio: float | None = None  # mean of its records'
    search_sec: float = 0.0
    build_sec: float = 0.0
    measure_sec: float = 0.0
    error: str = ""
    started_at: datetime = stamp_column()
    finished_at: datetime | None = Field(default=None, sa_type=UtcTime)


class Event(SQLModel, table=True):
    """What happened, in order; the SSE stream and the latency curve are read from here."""

    __tablename__ = "event"
    # An id is never given twice, so Last-Event-ID stays true after deletes.
    __table_args__ = (Index(None, "job_id", "id"), Index(None, "job_id", "kind", "id"), {"sqlite_autoincrement": True})
    id: int | None = number_column()
    job_id: str | None = None
    kind: str  # state | message | round | workloads | benchmark | artifact | device
    data: dict[str, Any] = json_column(default_factory=dict)
    created_at: datetime = stamp_column()


class Submission(SQLModel, table=True):
    """What was asked for under a key of the client's, and the job it became: asked again it is the same one."""

    __tablename__ = "submission"
    caller: str = Field(primary_key=True)  # name of the token it came with; empty: the data directory's own
    key: str = Field(primary_key=True)
    digest: str  # SHA-256 of the wish, hex
    job_id: str = Field(foreign_key="job.id", index=True)
