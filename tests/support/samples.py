"""Answers of the service as the schemas have them, to vary in tests."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tuner.schemas import ArtifactOut, BenchmarkOut, JobOut

NOON = datetime(2025, 3, 1, 12, 0, 0)


def job(**changes: Any) -> JobOut:
    """A BERT in the middle of its tuning."""
    values = {
        "id": "job-1",
        "model": "bert-base-uncased",
        "model_id": "mdl-1",
        "weights": "pretrained",
        "target": "local",
        "batch": 1,
        "seq_len": 128,
        "budget": {"trials": 1000, "seconds": 600.0},
        "cold": False,
        "priority": 0,
        "state": "tuning",
        "wish": "",
        "message": "",
        "progress": 0.4,
        "trials": 320,
        "trials_per_sec": 2.5,
        "tuning_sec": 128.0,
        "eta_low_sec": 150.0,
        "eta_high_sec": 250.0,
        "predicted_ms": 61.5,
        "latency_ms": None,
        "baseline_ms": None,
        "speedup": None,
        "artifact_id": None,
        "error": None,
        "created_at": NOON,
        "started_at": NOON,
        "finished_at": None,
    }
    return JobOut.model_validate({**values, **changes})


def finished_job(**changes: Any) -> JobOut:
    """The same, done and compared."""
    values = {
        "state": "succeeded",
        "progress": 1.0,
        "trials": 1000,
        "eta_low_sec": None,
        "eta_high_sec": None,
        "latency_ms": 43.2,
        "baseline_ms": 134.0,
        "speedup": 3.1,
        "artifact_id": "art-1",
        "finished_at": NOON,
    }
    return job(**{**values, **changes})


def artifact(content: bytes, sha256: str) -> ArtifactOut:
    """An artifact whose file has this content."""
    return ArtifactOut(id="art-1", job_id="job-1", size_bytes=len(content), sha256=sha256, manifest={}, created_at=NOON)


def benchmark(variant: str, median_ms: float, rounds_ms: list[float] | None = None) -> BenchmarkOut:
    """One variant of a comparison."""
    return BenchmarkOut(
        job_id="job-1",
        artifact_id="art-1",
        variant=variant,
        median_ms=median_ms,
        p10_ms=median_ms * 0.98,
        p90_ms=median_ms * 1.03,
        mean_ms=median_ms * 1.01,
        std_ms=median_ms * 0.02,
        n=60,
        rounds_ms=rounds_ms or [],
        threads=2,
        machine="two cores",
        created_at=NOON,
    )
