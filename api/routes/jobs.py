"""Jobs: submit, follow, control."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Response

from api.comparison import as_csv, as_svg
from api.deps import CallerNameDep, EngineDep, SettingsDep, WindowDep, page_of
from api.lookups import JobSource
from tuner.db import benchmarks, events, jobs, submissions
from tuner.db.engine import read, write
from tuner.db.paging import Window
from tuner.errors import Conflict
from tuner.jobs import control, failures, submit, view
from tuner.schemas import (
    BenchmarkOut,
    CandidateOut,
    CurvePoint,
    FailureOut,
    JobIn,
    JobOut,
    JobState,
    JobWorkloadOut,
    KernelOut,
    Page,
)

Form = Literal["svg", "csv"]

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.post("", status_code=201)
def submit_job(
    body: JobIn,
    source: JobSource,
    caller: CallerNameDep,
    engine: EngineDep,
    settings: SettingsDep,
    response: Response,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=200)] = None,
) -> JobOut:
    """Submit a job; it starts as soon as the coordinator and the device are free. Sent again with its key it is one."""
    digest = hashlib.sha256(body.model_dump_json().encode()).hexdigest()
    with write(engine) as session:
        job = submissions.known(session, caller, idempotency_key, digest) if idempotency_key else None
        if job is None:
            job = submit.submit(session, settings, body, source)
            if idempotency_key:
                submissions.note(session, caller, idempotency_key, digest, job)
        response.headers["Location"] = f"/v1/jobs/{job.id}"
        return view.job_out(session, job)


@router.get("")
def list_jobs(
    engine: EngineDep,
    window: WindowDep,
    state: Annotated[list[JobState] | None, Query(description="may be given several times")] = None,
    model: Annotated[str | None, Query(description="name or id")] = None,
    target: str | None = None,
) -> Page[JobOut]:
    """Jobs, newest first."""
    with read(engine) as session:
        found = jobs.find(session, list(state or []), model, target, window)
        return page_of(view.job_outs(session, found.rows), found, window)


@router.get("/{job_id}")
def get_job(job_id: str, engine: EngineDep) -> JobOut:
    """One job as it is now."""
    with read(engine) as session:
        return view.job_out(session, jobs.get(session, job_id))


@router.delete("/{job_id}", status_code=204)
def delete_job(job_id: str, engine: EngineDep, settings: SettingsDep) -> None:
    """Delete a finished job; its records stay, and artifacts that other jobs share."""
    control.delete(engine, settings, job_id)


@router.post("/{job_id}/cancel", status_code=202)
def cancel_job(job_id: str, engine: EngineDep) -> JobOut:
    """Ask for the job to end; what it measured is kept."""
    with write(engine) as session:
        return view.job_out(session, control.cancel(session, job_id))


@router.post("/{job_id}/pause", status_code=202)
def pause_job(job_id: str, engine: EngineDep) -> JobOut:
    """Ask for the job to stop tuning after the round that runs."""
    with write(engine) as session:
        return view.job_out(session, control.pause(session, job_id))


@router.post("/{job_id}/resume", status_code=202)
def resume_job(job_id: str, engine: EngineDep) -> JobOut:
    """Ask for a paused job to go on."""
    with write(engine) as session:
        return view.job_out(session, control.resume(session, job_id))


@router.get("/{job_id}/workloads")
def list_job_workloads(job_id: str, engine: EngineDep, settings: SettingsDep) -> list[JobWorkloadOut]:
    """The job's workloads in graph order."""
    with read(engine) as session:
        return view.workload_outs(session, settings, job_id)


@router.get("/{job_id}/workloads/{workload_id}")
def get_job_kernel(job_id: str, workload_id: str, engine: EngineDep) -> KernelOut:
    """What one of the job's kernels is made again from: its TIR, its target, the trace of its schedule."""
    with read(engine) as session:
        return view.kernel_out(session, job_id, workload_id)


@router.get("/{job_id}/comparison", response_class=Response)
def get_job_comparison(job_id: str, engine: EngineDep, form: Annotated[Form, Query(alias="format")]) -> Response:
    """The job's comparison to pass on: a picture that needs nothing else (`svg`), or a table (`csv`)."""
    with read(engine) as session:
        job = view.job_out(session, jobs.get(session, job_id))
        rows = benchmarks.find(session, job_id=job_id, window=Window(limit=1000)).rows
    if not rows:
        raise Conflict(f"{job_id} has not timed its module: it is {job.state}.", f"See: tunesmith show {job_id}")
    found = [BenchmarkOut.model_validate(row, from_attributes=True) for row in rows]
    made, kind = (as_svg, "image/svg+xml") if form == "svg" else (as_csv, "text/csv")
    headers = {"content-disposition": f'attachment; filename="{job_id}.{form}"', "cache-control": "private, no-cache"}
    return Response(made(job, found), media_type=kind, headers=headers)


@router.get("/{job_id}/failures")
def list_job_failures(job_id: str, engine: EngineDep) -> list[FailureOut]:
    """The job's candidates that failed, by kind, the most frequent first, with the last of each."""
    with read(engine) as session:
        return failures.failure_outs(session, job_id)


@router.get("/{job_id}/candidates/{candidate_id}")
def get_job_candidate(job_id: str, candidate_id: str, engine: EngineDep) -> CandidateOut:
    """What a candidate of the job is made again from, and what became of it."""
    with read(engine) as session:
        return failures.candidate_out(session, job_id, candidate_id)


@router.get("/{job_id}/evidence")
def get_job_evidence(job_id: str, engine: EngineDep) -> dict[str, Any]:
    """The manifest of the job's module as this job made and measured it; empty before it has one."""
    with read(engine) as session:
        jobs.get(session, job_id)
        return jobs.evidence(session, job_id)


@router.get("/{job_id}/curve")
def get_job_curve(job_id: str, engine: EngineDep) -> list[CurvePoint]:
    """Predicted latency over tuning time, a point per finished round."""
    with read(engine) as session:
        jobs.get(session, job_id)
        return [CurvePoint.model_validate(point) for point in events.curve(session, job_id)]
