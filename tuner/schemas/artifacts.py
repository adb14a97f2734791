"""What jobs give: artifacts, and how fast they were."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel


class ArtifactOut(BaseModel):
    id: str
    job_id: str
    size_bytes: int
    sha256: str
    manifest: dict[str, Any]
    created_at: datetime
    evicted_at: datetime | None = None  # when its file was removed, by the rule that the user set


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
    mean_ms: float | None = None
    std_ms: float | None = None
    n: int
    rounds_ms: list[float] = []
    threads: int
    machine: str
    created_at: datetime
