"""What a benchmark process is told, and what it answers; both travel as JSON files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tuner.importers.source import ModelSource
from tuner.schemas.common import Precision

Kind = Literal[
    "torch-eager", "torch-sdpa", "torch-compile", "torch-product", "torch-bf16", "onnxruntime", "onnxruntime-int8",
    "openvino", "openvino-default", "openvino-int8", "tvm",
]  # fmt: skip
NO_SPACE = 28  # exit code of a process that the disk took no result of


class Variant(BaseModel):
    """One contestant. ``path`` is a TVM artifact's tar or folder, for kind ``tvm`` only; ``precision`` is what its
    products are computed in."""

    model_config = ConfigDict(extra="forbid")

    name: str
    kind: Kind
    path: str = ""
    precision: Precision = "fp32"

    @model_validator(mode="after")
    def _path_goes_with_tvm(self) -> Variant:
        if (self.kind == "tvm") != bool(self.path):
            raise ValueError(f"{self.name}: a path is for kind tvm, and tvm needs one")
        return self


class Spec(BaseModel):
    """One benchmark: a model and the folder of its files (None: it has none), a shape, how long, and who takes part.

    With ``lengths`` it is texts of such lengths instead, and times are of one text.
    ``rounds`` to ``max_sec`` are those of ``tuner.bench.compare.interleave``; ``canary`` is the path of the reference
    kernel's library, which is timed between the rounds.
    """

    model_config = ConfigDict(extra="forbid")

    source: ModelSource
    folder: Path | None
    batch: int = Field(ge=1)
    seq_len: int = Field(ge=1)
    lengths: list[int] = Field(default_factory=list)
    threads: int = Field(ge=1)
    rounds: int = Field(10, ge=1)
    per_round: int = Field(5, ge=1)
    warmup_sec: float = Field(0.3, gt=0)
    max_sec: float | None = Field(None, gt=0)
    seed: int = 0
    canary: str | None = None
    memory_bytes: int | None = Field(None, ge=0)
    judged: int = Field(0, ge=0)  # sample sentences on which each contestant is compared with float32
    variants: list[Variant] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_differ(self) -> Spec:
        if len({variant.name for variant in self.variants}) < len(self.variants):
            raise ValueError("two variants have the same name")
        return self


class Timing(BaseModel):
    """One variant's latency over ``n`` counted runs; ``rounds_ms`` are the medians of the rounds, in their order."""

    variant: str
    median_ms: float
    p10_ms: float
    p90_ms: float
    mean_ms: float | None = None
    std_ms: float | None = None
    n: int
    rounds_ms: list[float] = Field(default_factory=list)


class Failure(BaseModel):
    """Why a benchmark process gave up, in the one shape of errors."""

    code: str
    message: str
    hint: str = ""


class Result(BaseModel):
    """What came out: timings in the order of the variants, or the error that ended it.

    ``max_abs_errors``: each variant's largest distance from PyTorch's outputs, all of them within tolerance.
    ``fidelity``: of the variants, on the sentences that were asked for, as ``importers.fidelity`` says.
    """

    threads: int
    machine: str = ""
    weights: str = ""
    timings: list[Timing] = Field(default_factory=list)
    max_abs_errors: dict[str, float] = Field(default_factory=dict)
    fidelity: dict[str, dict[str, float]] = Field(default_factory=dict)
    canary_us: float | None = None
    error: Failure | None = None
