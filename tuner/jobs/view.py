"""Rows as people see them: the shapes of tuner.schemas, for REST and the dashboard alike."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

from sqlmodel import Session, col, select

from tuner.bench.baselines import flops_of
from tuner.bench.rivals import PYTORCH
from tuner.config import Settings
from tuner.db import benchmarks, events, jobs, records
from tuner.db.models import Benchmark, Device, Job, JobWorkload, Model, Record, Workload
from tuner.errors import NotFound
from tuner.jobs.choice import ALL, Choice
from tuner.jobs.device_watch import trouble
from tuner.jobs.eta import Band, band
from tuner.jobs.precisions import precision_in
from tuner.jobs.target_lookup import peak_for
from tuner.jobs.traffic import traffic_bytes
from tuner.lengths import flops_of_text
from tuner.schemas import BudgetOut, DeviceOut, ErrorBody, JobOut, JobState, JobWorkloadOut, KernelOut, RecordOut
from tuner.state import TUNING_AHEAD
from tuner.targets.roofline import Peak

_STORED_PART = {"bf16": 0.5, "fp16": 0.5, "int8": 0.25}  # of float32, by precision


def job_out(session: Session, job: Job) -> JobOut:
    """One job."""
    return job_outs(session, [job])[0]


def job_outs(session: Session, found: Sequence[Job]) -> list[JobOut]:
    """Several jobs, with four queries in all."""
    if not found:
        return []
    models = {m.id: m for m in session.exec(select(Model).where(col(Model.id).in_({j.model_id for j in found})))}
    rows: dict[str, list[Benchmark]] = defaultdict(list)
    for row in benchmarks.of_jobs(session, [job.id for job in found]):
        rows[row.job_id].append(row)
    told = events.last_rounds(session, [job.id for job in found if job.state == "tuning"])
    counted = jobs.flops(session, [job.id for job in found if models[job.model_id].source == "operator"])
    return [
        describe_job(job, models[job.model_id], rows[job.id], told.get(job.id, {}), counted.get(job.id, 0.0))
        for job in found
    ]


def describe_job(
    job: Job,
    model: Model,
    rows: Iterable[Benchmark],
    last_round: Mapping[str, Any] = MappingProxyType({}),
    counted: float = 0.0,
) -> JobOut:
    """Pure: a job, its model, its benchmarks, what its last round told, and the operations that were ``counted`` in an
    operator, as one answer."""
    baseline_ms = min((row.median_ms for row in rows if row.variant in PYTORCH), default=None)
    left = _left(job, last_round)
    return JobOut(
        **job.model_dump(include=set(JobOut.model_fields) - {"state", "error", "lengths"}),
        lengths=[job.lengths[0], job.lengths[len(job.lengths) // 2], job.lengths[-1]] if job.lengths else None,
        model=model.name,
        revision=job.source_json.get("revision", ""),
        budget=BudgetOut(trials=job.budget_trials, seconds=job.budget_sec),
        state=cast(JobState, job.state),
        trials_per_sec=trials_per_sec(job),
        eta_low_sec=left.low_sec if left else None,
        eta_high_sec=left.high_sec if left else None,
        baseline_ms=baseline_ms,
        speedup=baseline_ms / job.latency_ms if baseline_ms and job.latency_ms else None,
        kind="operator" if model.source == "operator" else "model",
        gflops=gflops(model, job.latency_ms or job.predicted_ms, counted),
        error=ErrorBody.model_validate(job.error) if job.error else None,
    )


def gflops(model: Model, took_ms: float | None, counted: float = 0.0) -> float | None:
    """Billions of floating-point operations a second of an operator; None for a model, or before they are counted."""
    if model.source != "operator" or not took_ms:
        return None
    return flops_of(model, counted) / took_ms / 1e6 or None


def trials_per_sec(job: Job) -> float | None:
    """Mean rate over the rounds so far; None before the first."""
    return job.trials / job.tuning_sec if job.trials and job.tuning_sec else None


def _left(job: Job, last_round: Mapping[str, Any]) -> Band | None:
    """What is left of a job's tuning; None when that is over or not known."""
    if job.state not in TUNING_AHEAD:
        return None
    rate = trials_per_sec(job)
    return band(
        trials_left=job.budget_trials - job.trials,
        fewest_left=last_round.get("fewest_left", 0),
        seconds_left=None if job.budget_sec is None else job.budget_sec - job.tuning_sec,
        rounds=last_round.get("rounds", 0),
        sec_per_trial=1 / rate if rate else None,
    )


def workload_outs(session: Session, settings: Settings, job_id: str) -> list[JobWorkloadOut]:
    """The job's workloads in graph order. Raises NotFound for an unknown job."""
    job = jobs.get(session, job_id)
    chosen = _chosen(session, job_id)
    choice = Choice(job.only, job.skip)
    rows, units = jobs.workloads(session, job_id), _said(session, job_id, "unit")
    where = (jobs.evidence(session, job_id).get("places") or {}).get("kernels", {})
    return describe_workloads(rows, peak_for(session, settings, job), job.lengths, chosen, choice, units, where)


def _chosen(session: Session, job_id: str) -> dict[str, str]:
    """How the job's module came to the schedule of each workload, in words."""
    return _said(session, job_id, "by")


def _said(session: Session, job_id: str, what: str) -> dict[str, str]:
    """What the manifest of the job's module says of the schedule of each workload, where it says it."""
    schedules = jobs.evidence(session, job_id).get("schedules", [])
    return {one["workload"]: one[what] for one in schedules if "workload" in one and what in one}


def kernel_out(session: Session, job_id: str, workload_id: str) -> KernelOut:
    """What a job's kernel is made again from: what its module has, or, before there is one, its fastest record.

    Raises NotFound for a job, a workload of it, or a record that is not there.
    """
    job, workload = jobs.get(session, job_id), session.get(Workload, workload_id)
    if workload is None or session.get(JobWorkload, (job_id, workload_id)) is None:
        raise NotFound(f"{job_id} has no kernel {workload_id!r}.", f"See them: tunesmith show {job_id} --kernels")
    chosen = _chosen(session, job_id).get(workload_id)
    return KernelOut(
        **workload.model_dump(include={"name", "summary", "tir"}),
        workload_id=workload_id,
        target=job.target_json,
        chosen=chosen,
        trace=_trace(session, job, workload, chosen),
    )


def _trace(session: Session, job: Job, workload: Workload, chosen: str | None) -> str:
    if chosen is None:
        own = job.id if job.cold else None
        return next((one.trace for one in records.best(session, workload.id, job.target_family, job_id=own)), "")
    how, _, by = chosen.partition(": ")
    if how != "measured":
        return ""
    if not by.startswith("record "):
        return by  # the name of a ready-made schedule
    candidate = by.removeprefix("record ")
    record = records.get(session, workload.id, job.target_family, candidate)
    if record is None:
        raise NotFound(f"The record {candidate} of {workload.name} was deleted.", "Tune the model again.")
    return record.trace


def describe_workloads(
    rows: Sequence[tuple[JobWorkload, Workload]],
    peak: Peak | None = None,
    lengths: Sequence[int] | None = None,
    chosen: Mapping[str, str] = MappingProxyType({}),
    choice: Choice = ALL,
    units: Mapping[str, str] = MappingProxyType({}),
    where: Mapping[str, str] = MappingProxyType({}),
) -> list[JobWorkloadOut]:
    """Pure: ``gflops`` is flops / best time, ``share`` the part of all workloads' summed time (launches x best).

    ``chosen`` tells by workload how the job's module came to its schedule, ``choice`` which ones it tunes,
    ``units`` what beside the cores computes them, ``where`` they run in it.
    """
    total_us = sum(row.weight * row.best_us for row, _ in rows if row.best_us)
    found = []
    for row, workload in rows:
        flops = flops_of_text(workload.flops, workload.name, workload.summary, lengths)
        reached = flops / row.best_us / 1e3 if row.best_us else None
        unit = units.get(workload.id)
        most = peak.gflops_at(unit or precision_in(workload.name)) if peak else None
        found.append(
            JobWorkloadOut(
                **row.model_dump(exclude={"job_id"}),
                name=workload.name,
                summary=workload.summary,
                flops=flops,
                gflops=reached,
                share=row.weight * row.best_us / total_us if row.best_us else None,
                intensity=_intensity(workload),
                peak_share=reached / most if reached and most else None,
                left_out=choice.leaves_out(workload.name, workload.id),
                chosen=chosen.get(workload.id),
                unit=unit,
                runs_on=where.get(workload.id),
            )
        )
    return found


def _intensity(workload: Workload) -> float | None:
    moved = traffic_bytes(workload.summary, workload.weight_bytes) - _saved_bytes(workload)
    return workload.flops / moved if moved else None


def _saved_bytes(workload: Workload) -> float:
    """What a kernel does not read of its constants, as they are stored in shorter numbers than its summary says."""
    part = _STORED_PART.get(precision_in(workload.name), 1.0) if "float16" not in workload.summary else 1.0
    return workload.weight_bytes * (1.0 - part)


def device_out(device: Device) -> DeviceOut:
    """One device, and what keeps it from work."""
    return DeviceOut(**device.model_dump(), problem=trouble(device.state, device.facts))


def record_out(record: Record) -> RecordOut:
    """One record; its trace is left out, as it is long, and what an old import stored that is no finite number."""
    fields = record.model_dump(include=set(RecordOut.model_fields))
    fields["run_secs"] = [seconds for seconds in record.run_secs if _finite(seconds) is not None]
    fields["canary_ratio"] = _finite(record.canary_ratio)
    return RecordOut(**fields, mean_us=_finite(None if record.mean_sec is None else record.mean_sec * 1e6))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
