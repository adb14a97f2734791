"""Finished jobs side by side, and in what their figures may not be compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlmodel import Session

from tuner.db import artifacts, benchmarks, jobs
from tuner.db.models import Artifact, Benchmark
from tuner.errors import Conflict, InvalidInput
from tuner.jobs.view import job_outs
from tuner.schemas import JobBeside, JobOut, JobsCompared
from tuner.state import ACTIVE

_OF_JOB = {
    "kind", "model", "weights", "target", "batch", "seq_len", "lengths", "finished_at", "baseline_ms", "speedup",
    "gflops",
}  # fmt: skip
_TIMES = {"median_ms", "p10_ms", "p90_ms", "mean_ms", "std_ms", "n", "machine", "threads"}


def compared(session: Session, job_ids: Sequence[str]) -> JobsCompared:
    """Jobs in this order. Raises NotFound for one that is unknown, Conflict for one that has not come to a module, and
    InvalidInput for fewer than two."""
    outs = job_outs(session, [jobs.get(session, job_id) for job_id in dict.fromkeys(job_ids)])
    if len(outs) < 2:
        raise InvalidInput("One job has nothing to be compared with.", "Name two or more.")
    for job in outs:
        if job.state in ACTIVE:
            raise Conflict(f"{job.id} has not ended: it is {job.state}.", f"Follow it: tunesmith follow {job.id}")
        if job.artifact_id is None:
            raise Conflict(f"{job.id} {job.state} and has no module.", "Compare jobs that succeeded.")
    tuned = {row.job_id: row for row in benchmarks.of_jobs(session, [job.id for job in outs]) if row.variant == "tuned"}
    made = {job.id: artifacts.get(session, job.artifact_id or "") for job in outs}
    beside = [_beside(job, tuned.get(job.id), made[job.id], jobs.evidence(session, job.id)) for job in outs]
    return JobsCompared(jobs=beside, cautions=cautions(beside))


def _beside(job: JobOut, tuned: Benchmark | None, artifact: Artifact, evidence: Mapping[str, Any]) -> JobBeside:
    check = evidence.get("verification") or {}
    return JobBeside(
        **job.model_dump(include=_OF_JOB),
        **(tuned.model_dump(include=_TIMES) if tuned else {}),
        job_id=job.id,
        precision=(tuned.precision if tuned else "") or str(evidence.get("precision") or job.precision),
        max_abs_error=check.get("max_abs_error"),
        cosine=(check.get("fidelity") or {}).get("cosine_mean"),
        artifact_id=artifact.id,
        size_bytes=artifact.size_bytes,
    )


def cautions(found: Sequence[JobBeside]) -> list[str]:
    """Pure: in what jobs differ so that their times say nothing of which is the faster."""
    asked: dict[str, Callable[[JobBeside], str]] = {
        "They are for different shapes": lambda one: one.shape,
        "They are for different targets": lambda one: one.target,
        "They were timed on different machines": lambda one: f"{one.machine}, {one.threads} threads",
        "They were timed on different days": lambda one: f"{one.finished_at:%Y-%m-%d}" if one.finished_at else "",
    }
    said = []
    for what, of in asked.items():
        known = [one for one in found if one.median_ms is not None or "timed" not in what]
        if len(values := list(dict.fromkeys(of(one) or "none" for one in known))) > 1:
            said.append(f"{what}: {'; '.join(values)}.")
    if untimed := [one.job_id for one in found if one.median_ms is None]:
        said.append(f"No device has timed {' and '.join(untimed)}.")
    return said
