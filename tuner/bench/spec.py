"""What a benchmark process is told, and what it answers; both travel as JSON files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tuner.importers.source import ModelSource
from tuner.schemas.common import Precision

Kind = Literal[
    "torch-eager", "torch-sdpa", "torch-compile", "torch-product", "torch-bf16", "onnxruntime", "onnxruntime-optimised",
    "onnxruntime-int8", "openvino", "openvino-default", "openvino-int8", "onnx-file", "keras", "graphdef", "tvm",
]  # fmt: skip
_OF_FILES = ("tvm", "onnx-file", "graphdef")
NO_SPACE = 28  # exit code of a process that the disk took no result of


class Variant(BaseModel):
    """One contestant. ``path`` is a TVM artifact's tar or folder for kind ``tvm``, a graph for the others of files;
    ``precision`` is what its products are computed in. One that is ``optional`` may fail, and the others go on."""

    model_config = ConfigDict(extra="forbid")

    name: str
    kind: Kind
    path: str = ""
    precision: Precision = "fp32"
    optional: bool = False

    @model_validator(mode="after")
    def _path_goes_with_files(self) -> Variant:
        if (self.kind in _OF_FILES) != bool(self.path):
            raise ValueError(f"{self.name}: a path is for kinds {' and '.join(_OF_FILES)}, which needs one")
        return self


class Spec(BaseModel):
    """One benchmark: a model and the folder of its files (None: it has none), a shape, how long, and who takes part.

    With ``lengths`` it is texts of such lengths instead, and times are of one text.
    ``rounds`` to ``max_sec`` are those of ``tuner.bench.compare.interleave``; ``canary`` is the path of the reference
    kernel's library, which is timed between the rounds. ``apart``: each contestant has a process of its own, so that it
    is known what it costs before its first answer, and after ``idle_sec`` in which nobody ran. ``graphs``: a folder
    that keeps what the model is converted to for other runtimes; else each benchmark converts it anew.
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
    may_settle: bool = False  # after six rounds, where more would say the same: tuner.bench.rivals
    seed: int = 0
    canary: str | None = None
    memory_bytes: int | None = Field(None, ge=0)
    keras_python: Path | None = None  # an interpreter that has Keras and TensorFlow
    apart: bool = False
    idle_sec: float = Field(10.0, ge=0)
    graphs: Path | None = None
    judged: int = Field(0, ge=0)  # sample sentences on which each contestant is compared with float32
    variants: list[Variant] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_differ(self) -> Spec:
        if len({variant.name for variant in self.variants}) < len(self.variants):
            raise ValueError("two variants have the same name")
        return self


class Timing(BaseModel):
    """One variant's latency over ``n`` counted runs; ``rounds_ms`` are the medians of the rounds, in their order.

    ``precision`` is what its products were computed in. The others are known of one in a process of its own: what
    passed until it could be called, its first call (for texts: of one), the same call after it had rested, and the most
    memory that its process held.
    """

    variant: str
    median_ms: float
    p10_ms: float
    p90_ms: float
    mean_ms: float | None = None
    std_ms: float | None = None
    n: int
    rounds_ms: list[float] = Field(default_factory=list)
    precision: str = ""
    load_ms: float | None = None
    first_ms: float | None = None
    after_idle_ms: float | None = None
    memory_bytes: int | None = None


class Failure(BaseModel):
    """Why a benchmark process gave up, in the one shape of errors."""

    code: str
    message: str
    hint: str = ""


class Result(BaseModel):
    """What came out: timings in the order of the variants, why optional ones are ``absent``, or what ended it.

    ``max_abs_errors``: each variant's largest distance from PyTorch's outputs, all of them within tolerance.
    ``fidelity``: of the variants, on the sentences that were asked for, as ``importers.fidelity`` says.
    """

    threads: int
    machine: str = ""
    weights: str = ""
    timings: list[Timing] = Field(default_factory=list)
    max_abs_errors: dict[str, float] = Field(default_factory=dict)
    absent: dict[str, str] = Field(default_factory=dict)
    fidelity: dict[str, dict[str, float]] = Field(default_factory=dict)
    canary_us: float | None = None
    error: Failure | None = None
