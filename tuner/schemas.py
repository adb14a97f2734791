"""What goes over REST, in both directions; the command line and the dashboard read the same shapes."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")

JobState = Literal[
    "submitted", "importing", "extracting", "tuning", "paused", "compiling", "verifying", "benchmarking",
    "succeeded", "failed", "cancelled",
]  # fmt: skip


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Page(BaseModel, Generic[T]):
    """One page of a list; ``total`` counts all that match."""

    items: list[T]
    total: int
    limit: int
    offset: int


class ErrorBody(BaseModel):
    """The inside of every error answer."""

    code: str
    message: str
    hint: str = ""


class ErrorOut(BaseModel):
    """Every error answer."""

    error: ErrorBody


class ModelIn(_In):
    """A model to add: a preset name, a hub id or a folder on the service's machine."""

    name: str = Field(min_length=1, max_length=400)
    head: Literal["encoder", "sequence-classification"] | None = None
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


class OperatorIn(_In):
    """An operator of the user's own: a PrimFunc of float32 tensors, its result last, as TVM's JSON."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_]*$")
    tir: str = Field(min_length=2, max_length=4_000_000)
    constants: list[int] = Field(default_factory=list, description="positions of inputs that are weights")


class OperatorOut(BaseModel):
    """An operator that can be tuned by name: ``op:NAME:`` and its parameters, separated by commas."""

    name: str
    parameters: list[str]
    description: str


class BudgetIn(_In):
    """How much tuning: a preset, or trials and/or minutes (whichever ends first)."""

    preset: Literal["express", "full"] | None = None
    trials: int | None = None
    minutes: float | None = None


class JobIn(_In):
    """A job to submit."""

    model: str = Field(min_length=1, max_length=400, description="preset, hub id, folder, op:NAME:ARGS or model id")
    target: str = Field("local", description="target name, or a TVM target as JSON")
    budget: BudgetIn = Field(default_factory=BudgetIn)
    batch: int = Field(1, ge=1, le=1024)
    seq_len: int = Field(128, ge=1, le=65536)
    cold: bool = Field(False, description="ignore records that are already known")
    compile_only: bool = Field(
        False, description="no tuning and no device: compile from known records and default schedules"
    )
    priority: int = Field(0, ge=-100, le=100)
    head: Literal["encoder", "sequence-classification"] | None = None
    allow_pickle: bool = False


class BudgetOut(BaseModel):
    trials: int
    seconds: float | None


class JobOut(BaseModel):
    id: str
    model: str
    model_id: str
    revision: str = ""  # of a hub model: as asked for, then the commit that it was
    weights: str  # pretrained | random | unknown
    target: str
    batch: int
    seq_len: int
    budget: BudgetOut
    cold: bool
    compile_only: bool = False
    priority: int
    state: JobState
    wish: str
    message: str
    progress: float
    trials: int
    trials_per_sec: float | None
    tuning_sec: float
    eta_low_sec: float | None  # of tuning: the planner may stop before the budget ends
    eta_high_sec: float | None
    predicted_ms: float | None
    latency_ms: float | None
    baseline_ms: float | None  # best PyTorch variant of the same run
    speedup: float | None  # baseline_ms / latency_ms
    kind: Literal["model", "operator"] = "model"
    gflops: float | None = None  # of an operator, at latency_ms, else at predicted_ms
    artifact_id: str | None
    error: ErrorBody | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class JobWorkloadOut(BaseModel):
    workload_id: str
    name: str
    summary: str
    flops: float
    weight: int
    position: int
    tunable: bool
    trials: int
    untuned_us: float | None
    best_us: float | None
    gflops: float | None  # at best_us
    share: float | None  # of the summed time of all workloads, 0..1
    intensity: float | None  # FLOPs per byte of memory traffic
    peak_share: float | None  # gflops of what the device can do at most; None while its peak is unknown


class CurvePoint(BaseModel):
    """Predicted latency after a round."""

    t_sec: float  # of tuning
    trials: int
    predicted_ms: float | None


class EventOut(BaseModel):
    """What happened; ``data`` of the SSE stream."""

    id: int
    job_id: str | None
    kind: str
    data: dict[str, Any]
    created_at: datetime


class RecordOut(BaseModel):
    id: int
    workload_id: str
    target_family: str
    device: str
    candidate: str
    mean_us: float | None
    run_secs: list[float]
    error_class: str
    error: str
    tvm_version: str
    canary_ratio: float | None
    source: str
    job_id: str | None
    created_at: datetime


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


class ArtifactOut(BaseModel):
    id: str
    job_id: str
    size_bytes: int
    sha256: str
    manifest: dict[str, Any]
    created_at: datetime


class ArtifactCheck(BaseModel):
    """Did the stored file still match its manifest?"""

    id: str
    ok: bool
    problems: list[str]


class BenchmarkOut(BaseModel):
    job_id: str
    artifact_id: str | None
    variant: str
    median_ms: float
    p10_ms: float
    p90_ms: float
    n: int
    rounds_ms: list[float] = []
    threads: int
    machine: str
    created_at: datetime


class DeviceOut(BaseModel):
    """``problem`` says why it gets no work and what to do, as the rest of a sentence; empty when all is well."""

    key: str
    state: str
    problem: str
    facts: dict[str, Any]
    crashes: int
    last_seen: datetime


class ThreadgroupOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    max_threads: int
    memory_bytes: int
    simd_width: int


class TargetOut(BaseModel):
    name: str
    description: str
    tvm: dict[str, Any]
    host_triple: str
    device_key: str
    device_online: bool
    suffix: str
    cores: int | None
    peak_gflops: float | None  # of single precision
    bandwidth_gb_per_sec: float | None
    peak_source: Literal["measured", "computed"] | None  # on its device, or from the chip's units and clocks
    threadgroup: ThreadgroupOut | None


class Health(BaseModel):
    status: Literal["ok", "degraded"]
    checks: dict[str, str]
    version: str
