"""What jobs give: artifacts, and how fast they were."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, computed_field

CheckState = Literal["wanted", "running", "loaded", "failed"]


class DeviceCheckIn(BaseModel):
    """On which device of the fleet an artifact is to be loaded and run: a key of `GET /v1/devices`."""

    device: str


class DeviceCheckOut(BaseModel):
    """What came of loading and running an artifact on a device; ``found`` has its machine and latency, or the error."""

    device: str
    state: CheckState
    found: dict[str, Any]
    asked_at: datetime
    ended_at: datetime | None = None

    @property
    def words(self) -> str:
        """What it is, for people."""
        if self.state == "failed":
            return f"failed on {self.device}: {self.found['error']}"
        if self.state == "loaded":
            return f"loaded and run on {self.found['machine']}: {self.found['median_ms']:.3g} ms"
        return f"being checked on {self.device}" if self.state == "running" else f"to be checked on {self.device}"


class ArtifactOut(BaseModel):
    id: str
    job_id: str
    size_bytes: int
    sha256: str
    manifest: dict[str, Any]
    created_at: datetime
    evicted_at: datetime | None = None  # when its file was removed, by the rule that the user set
    checks: list[DeviceCheckOut] = []  # on devices, the last first

    @computed_field  # type: ignore[prop-decorator]
    @property
    def tested(self) -> str:
        """How far it was tested, in words: on a device after it was made, else as its manifest says."""
        over = [one for one in self.checks if one.ended_at is not None]
        return over[0].words if over else str(self.manifest.get("tested", ""))

    @computed_field  # type: ignore[prop-decorator]
    @property
    def runs(self) -> bool | None:
        """Has a device run it? None where nothing is known."""
        over = [one.state == "loaded" for one in self.checks if one.ended_at is not None]
        return over[0] if over else (self.manifest["load_check"] == "device" if "load_check" in self.manifest else None)


class ArtifactCheck(BaseModel):
    """Did the stored file still match its manifest?"""

    id: str
    ok: bool
    problems: list[str]


class HistoryPoint(BaseModel):
    """What a job of a model came to; ``previous_ms`` is the median of the one before it of the same target, shape and
    precision on the same machine, from which it differs (``change``) only if nine tenths of the runs do."""

    job_id: str
    created_at: datetime
    finished_at: datetime | None
    target: str
    batch: int
    seq_len: int
    lengths: list[int] | None  # of texts: shortest, median, longest
    precision: str
    weights: str
    revision: str  # of a hub model
    versions: dict[str, str]  # of what made it
    machine: str
    threads: int
    median_ms: float
    p10_ms: float
    p90_ms: float
    mean_ms: float | None
    std_ms: float | None
    baseline_ms: float | None  # PyTorch's fastest beside it
    previous_ms: float | None
    change: Literal["faster", "slower", "as before"] | None

    @property
    def shape(self) -> str:
        """For people."""
        return f"texts of {self.lengths[0]}-{self.lengths[-1]}" if self.lengths else f"{self.batch} x {self.seq_len}"

    @property
    def made_with(self) -> str:
        """The releases that made it, and the model's."""
        known = [f"{name} {self.versions[name]}" for name in ("tunesmith", "tvm") if name in self.versions]
        return ", ".join([*known, *([f"revision {self.revision[-12:]}"] if self.revision else [])])


class JobBeside(BaseModel):
    """What a finished job came to, beside others; times of its module are null where no device has timed it."""

    job_id: str
    kind: Literal["model", "operator"]
    model: str
    weights: str
    target: str
    batch: int
    seq_len: int
    lengths: list[int] | None  # of texts: shortest, median, longest
    precision: str
    finished_at: datetime | None
    machine: str = ""
    threads: int | None = None
    median_ms: float | None = None
    p10_ms: float | None = None
    p90_ms: float | None = None
    mean_ms: float | None = None
    std_ms: float | None = None
    n: int | None = None
    baseline_ms: float | None  # PyTorch's fastest in the same run
    speedup: float | None
    gflops: float | None  # of an operator
    max_abs_error: float | None  # of its outputs, when it was verified
    cosine: float | None  # to float32, of a lower precision
    artifact_id: str
    size_bytes: int

    @property
    def shape(self) -> str:
        """For people; an operator has its extents in its name."""
        if self.kind == "operator":
            return ""
        return f"texts of {self.lengths[0]}-{self.lengths[-1]}" if self.lengths else f"{self.batch} x {self.seq_len}"


class JobsCompared(BaseModel):
    """Finished jobs side by side, and in what they may not be compared."""

    jobs: list[JobBeside]
    cautions: list[str]


class BenchmarkOut(BaseModel):
    job_id: str
    artifact_id: str | None
    variant: str
    median_ms: float
    p10_ms: float
    p90_ms: float
    mean_ms: float | None = None
    std_ms: float | None = None
    load_ms: float | None = None  # this and the next three: of one in a process of its own, where rivals were asked for
    first_ms: float | None = None
    after_idle_ms: float | None = None
    memory_bytes: int | None = None
    precision: str = ""
    max_abs_error: float | None = None
    n: int
    rounds_ms: list[float] = []
    threads: int
    machine: str
    created_at: datetime
