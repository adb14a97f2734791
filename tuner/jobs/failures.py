"""What failed of a job's candidates, by kind, and what one is made again from."""

from __future__ import annotations

from collections import defaultdict

from sqlmodel import Session

from tuner.db import failures, jobs
from tuner.db.models import Workload
from tuner.errors import NotFound
from tuner.schemas import CandidateOut, FailedOut, FailureOut

_SHOWN = 5  # of each kind


def failure_outs(session: Session, job_id: str) -> list[FailureOut]:
    """The job's failures, the most frequent kind first. Raises NotFound for an unknown job."""
    jobs.get(session, job_id)
    names = {workload.id: workload.name for _, workload in jobs.workloads(session, job_id)}
    kinds: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for kind, workload_id, many in failures.counts(session, job_id):
        kinds[kind][names.get(workload_id, workload_id)] += many
    return [
        FailureOut(
            error_class=kind,
            count=sum(by_kernel.values()),
            kernels=dict(by_kernel),
            latest=[
                FailedOut(
                    **row.model_dump(include=set(FailedOut.model_fields)),
                    kernel=names.get(row.workload_id, row.workload_id),
                )
                for row in failures.latest(session, job_id, kind, _SHOWN)
            ],
        )
        for kind, by_kernel in sorted(kinds.items(), key=lambda found: -sum(found[1].values()))
    ]


def candidate_out(session: Session, job_id: str, candidate: str) -> CandidateOut:
    """What a candidate is made again from, and what became of it. Raises NotFound for one that the job never tried."""
    job = jobs.get(session, job_id)
    row = failures.candidate(session, job_id, candidate)
    workload = session.get(Workload, row.workload_id) if row is not None else None
    if row is None or workload is None:
        raise NotFound(f"{job_id} tried no candidate {candidate!r}.", f"See some: tunesmith show {job_id} --failures")
    return CandidateOut(
        **workload.model_dump(include={"name", "summary", "tir"}),
        **row.model_dump(include={"workload_id", "trace", "candidate", "attempt", "error_class", "error", "run_secs"}),
        target=job.target_json,
        chosen=None,
    )
