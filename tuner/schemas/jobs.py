"""Jobs: what is asked for, how far it is, what happened."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from tuner.schemas.common import ErrorBody, Head, In, PrecisionWish, Strategy

JobState = Literal[
    "submitted", "importing", "extracting", "tuning", "paused", "compiling", "verifying", "benchmarking",
    "succeeded", "failed", "cancelled",
]  # fmt: skip


KernelName = Annotated[str, Field(min_length=1, max_length=200)]


class BudgetIn(In):
    """How much tuning: a preset, or trials and/or minutes (whichever ends first)."""

    preset: Literal["express", "full"] | None = None
    trials: int | None = None
    minutes: float | None = None


class JobIn(In):
    """A job to submit."""

    model: str = Field(
        min_length=1, max_length=400, description="preset, hub id, folder, file, op:NAME:ARGS or model id"
    )
    target: str = Field("local", max_length=16_000, description="target name, or a TVM target as JSON")
    budget: BudgetIn = Field(default_factory=BudgetIn)
    batch: int | None = Field(None, ge=1, le=1024, description="of one shape; 1 where only seq_len is given")
    seq_len: int | None = Field(
        None,
        ge=1,
        le=65536,
        description="of one shape; 128 where only batch is given. Neither of them and no lengths: texts of any lengths "
        "in the default mix, or 1 x 128 where the target or the model takes none",
    )
    lengths: str | None = Field(
        None, max_length=20, description="for texts of any lengths, in any batch: the range they have, 4:256, or mix"
    )
    text_lengths: list[int] | None = Field(
        None, max_length=100_000, description="the same, by the lengths in tokens of texts as they are"
    )
    precision: PrecisionWish = Field(
        "fp32",
        description="of the model's products: what bf16, fp16 and int8 lose is measured and bounded; fastest: the "
        "quickest that stays within the bounds",
    )
    max_drop: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="how much a lower precision may lose, 0.005 is half a percent: of the mean cosine to float32, and "
        "of a classifier's labels",
    )
    judged_on: list[Annotated[str, Field(max_length=4000)]] | None = Field(
        None, max_length=500, description="texts on which that is measured, in place of as many sample sentences"
    )
    against: list[Annotated[str, Field(min_length=1, max_length=4000)]] = Field(
        default_factory=list,
        max_length=12,
        description="rivals to time beside, each in a process of its own: torch, torch-compile, torch-bf16, "
        "onnxruntime, onnxruntime-optimised, onnxruntime-int8, openvino, openvino-default, openvino-int8, or a "
        "FILE.onnx of one's own",
    )
    only: list[KernelName] = Field(
        default_factory=list,
        max_length=100,
        description="tune these kernels and compile the rest from known records and guesses: names as in the job's "
        "workloads, with * and ? for others, or ids",
    )
    skip: list[KernelName] = Field(default_factory=list, max_length=100, description="tune all but these")
    repeat: int | None = Field(None, ge=1, le=50, description="times each candidate is timed; usually 5")
    min_repeat_ms: int | None = Field(
        None,
        ge=0,
        le=1000,
        description="how long each of these is at least, where a kernel finds its arguments in the caches; usually 2",
    )
    rounds: int | None = Field(
        None, ge=6, le=50, description="of the comparison, all of them; usually 10, or 6 where these settle it"
    )
    strategy: Strategy = Field(
        "auto",
        description="how candidates are found: auto, tiles (register tiles and the other spaces of our own alone), "
        "evolution (MetaSchedule's sketches alone) or random",
    )
    timeout_sec: int | None = Field(
        None,
        ge=1,
        le=300,
        description="how long the build of a candidate, and a session in which some are timed, may take; usually what "
        "the service's settings say",
    )
    cold: bool = Field(False, description="ignore records that are already known")
    compile_only: bool = Field(
        False, description="no tuning and no device: compile from known records and default schedules"
    )
    priority: int = Field(0, ge=-100, le=100)
    head: Head | None = None
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
    lengths: list[int] | None = None  # of a job for texts: shortest, median, longest of its profile
    precision: PrecisionWish = "fp32"
    max_drop: float | None = None
    against: list[str] = []
    absent: dict[str, str] = {}  # of these rivals, why they were not timed
    only: list[str] = []
    skip: list[str] = []
    repeat: int | None = None  # with the next two null: as usual
    min_repeat_ms: int | None = None
    rounds: int | None = None
    strategy: Strategy = "auto"
    timeout_sec: int | None = None  # null: as the service's settings say
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
    left_out: bool = False  # of tuning, by the job's only and skip
    chosen: str | None = None  # how its schedule in the job's module was: measured, guessed or plain, and by what
    unit: str | None = None  # beside the cores, by which the job's module computes it
    runs_on: str | None = None  # in the job's module: cpu, or the kind of GPU


class KernelOut(BaseModel):
    """What a job's kernel is made again from."""

    workload_id: str
    name: str
    summary: str
    target: dict[str, Any]  # as TVM has it
    chosen: str | None  # as in JobWorkloadOut
    trace: str  # a record's JSON, or a ready-made schedule's name; empty: there is neither
    tir: str  # JSON of an IRModule whose one function is "main"


class CandidateOut(KernelOut):
    """What a candidate is made again from, and what became of it."""

    candidate: str
    attempt: int
    error_class: str  # empty: it ran
    error: str
    run_secs: list[float]


class FailedOut(BaseModel):
    """A candidate that failed."""

    candidate: str
    workload_id: str
    kernel: str
    attempt: int
    error: str
    measured_on: str
    created_at: datetime


class FailureOut(BaseModel):
    """A job's candidates that failed in one way."""

    error_class: str
    count: int
    kernels: dict[str, int]  # how many of each
    latest: list[FailedOut]  # some, the newest first


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
