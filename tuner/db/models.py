"""The tables. The database is the only truth; everything else can be lost and made again."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, Index, UniqueConstraint
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


def _json(**kwargs: Any) -> Any:
    return Field(sa_column=Column(JSON, nullable=False), **kwargs)


def _stamp() -> Any:
    """When the row came, by the database's clock; the row has it once it is flushed."""
    return Field(default=None, sa_type=UtcTime, nullable=False, sa_column_kwargs={"default": Now()})


def _number() -> Any:
    return Field(default=None, primary_key=True, sa_type=BigInt)


class Model(SQLModel, table=True):
    """A source of a network: a preset, a local folder or a hub id."""

    __tablename__ = "model"
    __table_args__ = (UniqueConstraint("name", "head"),)
    id: str = Field(default_factory=lambda: new_id("mdl"), primary_key=True)
    name: str  # what the user typed: preset, hub id or folder
    source: str  # preset | hub | folder
    location: str  # folder or hub id
    family: str = ""  # bert, distilbert, ... ; empty until known
    head: str = "encoder"  # encoder | sequence-classification
    max_seq_len: int | None = None
    weights: str = "unknown"  # pretrained | random | unknown
    allow_pickle: bool = False
    created_at: datetime = _stamp()


class Job(SQLModel, table=True):
    """One wish: this model, this shape, this target, this budget."""

    __tablename__ = "job"
    __table_args__ = (
        Index(None, "created_at", "id"),
        Index(None, "state", "created_at", "id"),
        Index(None, "model_id", "created_at", "id"),
        Index(None, "target", "created_at", "id"),
    )
    id: str = Field(default_factory=lambda: new_id("job"), primary_key=True)
    model_id: str = Field(foreign_key="model.id")
    source_json: dict[str, Any] = _json(default_factory=dict)  # what the model's name meant: tuner.importers.source
    snapshot: str | None = None  # folder of its files below sources/; empty: it has none; None: not fetched yet
    import_key: str = ""  # of its import, once that was made
    target: str  # name as asked for: local, ...
    target_json: dict[str, Any] = _json(default_factory=dict)  # the TVM target once resolved
    target_family: str = ""  # key records are shared by, once resolved
    batch: int = 1
    seq_len: int = 128
    budget_trials: int
    budget_sec: float | None = None
    cold: bool = False  # ignore records that are already known
    compile_only: bool = False  # from known records and default schedules, without tuning and without a device
    priority: int = 0
    state: str = "submitted"
    wish: str = ""  # "" | cancel | pause | resume: what the user asked for and the coordinator has yet to do
    message: str = ""  # what it is doing or waiting for, for people
    progress: float = 0.0  # 0..1
    attempts: int = 0  # of the present stage
    stage_stamp: str = ""  # when it was started: tuner.jobs.moments
    trials: int = 0  # measured so far by this job
    tuning_sec: float = 0.0  # spent in rounds
    predicted_ms: float | None = None  # sum over workloads of weight x best
    latency_ms: float | None = None  # measured, of the whole module
    error: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON))
    artifact_id: str | None = Field(default=None, index=True)
    weights: str = "unknown"  # pretrained | random
    created_at: datetime = _stamp()
    started_at: datetime | None = Field(default=None, sa_type=UtcTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcTime)


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
    created_at: datetime = _stamp()


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
    __table_args__ = (Index(None, "job_id", "number"),)
    id: str = Field(default_factory=lambda: new_id("rnd"), primary_key=True)
    job_id: str = Field(foreign_key="job.id")
    workload_id: str = Field(foreign_key="workload.id", index=True)
    state: str = Field(default="running", index=True)  # running | done | lost | failed
    batch: int = 16
    number: int = 0  # of the job's rounds, from 1; 0: of a release that did not count
    stamp: str = ""  # when it was started: tuner.jobs.moments
    measured: int = 0
    failed: int = 0
    best_us: float | None = None
    search_sec: float = 0.0
    build_sec: float = 0.0
    measure_sec: float = 0.0
    error: str = ""
    started_at: datetime = _stamp()
    finished_at: datetime | None = Field(default=None, sa_type=UtcTime)


class Record(SQLModel, table=True):
    """One candidate and what became of it, once per workload and family.

    A seed (neither a time nor an error) gives way to its measurement, any record to that of a cold job; the best of a
    round turns ``wrong`` when its outputs are.
    """

    __tablename__ = "record"
    __table_args__ = (
        UniqueConstraint("workload_id", "target_family", "candidate"),
        # What a search asks of a workload is answered from this index alone: traces make the rows long.
        Index(
            "ix_record_lookup", "workload_id", "target_family", "error_class", "mean_sec", "id", "candidate", "job_id"
        ),
        # Lists, fastest first, and how long they are.
        Index(None, "mean_sec", "id", "error_class"),
        Index(None, "target_family", "mean_sec", "id", "error_class"),
        Index(None, "job_id", "mean_sec", "id", "error_class"),
    )
    id: int | None = _number()
    workload_id: str = Field(foreign_key="workload.id")
    target_family: str
    target_json: dict[str, Any] = _json(default_factory=dict)
    device: str = ""
    candidate: str  # structural hash of the scheduled module, hex
    trace: str = ""  # JSON of TuningRecord.as_json() without post-processing
    run_secs: list[float] = _json(default_factory=list)
    mean_sec: float | None = None  # median of run_secs (of an Ansor log's the mean); None: it failed, or is a seed
    error_class: str = ""  # "" | build | build_timeout | run | crash | timeout (of the session) | wrong
    error: str = ""
    tvm_version: str = ""
    evaluator: dict[str, Any] = _json(default_factory=dict)
    canary_ratio: float | None = None  # canary now / canary at the device's start
    checked: bool = False  # was seen to compute what the plain schedule computes, on a device of the family
    source: str = "measured"  # measured | imported | shipped
    job_id: str | None = None
    round_id: str | None = Field(default=None, index=True)
    created_at: datetime = _stamp()


class Artifact(SQLModel, table=True):
    """A compiled, verified module as a tar; its id is derived from its content."""

    __tablename__ = "artifact"
    __table_args__ = (Index(None, "created_at", "id"),)
    id: str = Field(primary_key=True)  # "art-" + first 20 hex digits of the manifest's content hash
    job_id: str = Field(index=True)  # the job that made it first
    path: str  # relative to the artifacts folder
    size_bytes: int = Field(sa_type=BigInt)
    sha256: str
    manifest: dict[str, Any] = _json(default_factory=dict)
    created_at: datetime = _stamp()


class Benchmark(SQLModel, table=True):
    """One variant's latency in one interleaved comparison."""

    __tablename__ = "benchmark"
    __table_args__ = (Index(None, "created_at", "id"),)
    id: int | None = _number()
    job_id: str = Field(foreign_key="job.id", index=True)
    artifact_id: str | None = Field(default=None, index=True)
    variant: str  # tuned | untuned | torch-eager | torch-sdpa | ...
    median_ms: float
    p10_ms: float
    p90_ms: float
    n: int
    rounds_ms: list[float] = _json(default_factory=list)  # medians of the rounds, in their order
    threads: int
    machine: str
    created_at: datetime = _stamp()


class Event(SQLModel, table=True):
    """What happened, in order; the SSE stream and the latency curve are read from here."""

    __tablename__ = "event"
    # An id is never given twice, so Last-Event-ID stays true after deletes.
    __table_args__ = (Index(None, "job_id", "id"), Index(None, "job_id", "kind", "id"), {"sqlite_autoincrement": True})
    id: int | None = _number()
    job_id: str | None = None
    kind: str  # state | message | round | workloads | benchmark | artifact | device
    data: dict[str, Any] = _json(default_factory=dict)
    created_at: datetime = _stamp()


class Device(SQLModel, table=True):
    """A device as last seen at the tracker."""

    __tablename__ = "device"
    key: str = Field(primary_key=True)
    state: str = "online"  # online | busy | offline | quarantined | incompatible (another TVM)
    facts: dict[str, Any] = _json(default_factory=dict)  # cpu, cores, mcpu, memory, tvm version
    crashes: int = 0  # in a row
    last_seen: datetime = _stamp()


class Lease(SQLModel, table=True):
    """Who may act for a name until when; one coordinator at a time."""

    __tablename__ = "lease"
    name: str = Field(primary_key=True)
    owner: str
    expires_at: datetime = Field(sa_type=UtcTime)
