"""What the pages show, read from the database in one snapshot each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func
from sqlmodel import Session, col, select

from api.dashboard.charts.bars import Bar
from api.dashboard.charts.curve import CurvePoint
from api.dashboard.charts.roofline import Dot
from api.dashboard.log import LogEntry, entry
from api.dashboard.verdict import CanaryDrift, canary_drift
from api.dashboard.words import FILTERS, STAGES
from api.deps import page_of
from tuner.config import Settings
from tuner.db import artifacts, benchmarks, canaries, device_checks, events, jobs
from tuner.db.models import Event, Job
from tuner.db.paging import Window
from tuner.jobs.failures import failure_outs
from tuner.jobs.precisions import precision_in
from tuner.jobs.target_lookup import peak_for
from tuner.jobs.view import job_out, job_outs, workload_outs
from tuner.schemas import ArtifactOut, BenchmarkOut, FailureOut, JobOut, JobWorkloadOut, Page
from tuner.targets.roofline import Peak
from tuner.targets.triples import family

JOBS_PER_PAGE = 25
LOG_LINES = 150
MATTERS = 0.002  # share of the time from which a kernel is in the roofline


@dataclass(frozen=True)
class ArtifactRow:
    """An artifact in the list; the job that made it first may be gone."""

    artifact: ArtifactOut
    model: str
    target: str
    job_id: str | None


@dataclass(frozen=True)
class JobPage:
    """Everything about one job."""

    job: JobOut
    workloads: list[JobWorkloadOut]  # largest share of time first
    benchmarks: list[BenchmarkOut]
    artifact: ArtifactOut | None
    evidence: dict[str, Any]  # the manifest of what the job made, as it measured it
    curve: list[CurvePoint]
    drift: CanaryDrift | None
    log: list[LogEntry]  # newest first
    last_stage: str | None  # where a job that is over, or paused, got to
    peak: Peak | None  # of the target
    failures: list[FailureOut]

    @property
    def bars(self) -> list[Bar]:
        """The benchmarks as the chart wants them."""
        return [Bar(b.variant, b.median_ms, b.p10_ms, b.p90_ms) for b in self.benchmarks]

    @property
    def dots(self) -> list[Dot]:
        """The kernels that compute and take time, as the roofline wants them; none while the peak is unknown."""
        if self.peak is None:
            return []
        return [
            Dot(w.name, w.intensity, w.gflops, w.share, w.unit or precision_in(w.name))
            for w in self.workloads
            if w.intensity and w.gflops and w.share and w.share >= MATTERS
        ]


def jobs_page(session: Session, filter_name: str, offset: int) -> Page[JobOut]:
    """One page of the jobs that pass the filter, newest first."""
    window = Window(JOBS_PER_PAGE, offset)
    found = jobs.find(session, states=list(FILTERS[filter_name]), window=window)
    return page_of(job_outs(session, found.rows), found, window)


def artifacts_page(session: Session, offset: int) -> Page[ArtifactRow]:
    """One page of all artifacts, newest first."""
    window = Window(JOBS_PER_PAGE, offset)
    found = artifacts.find(session, window=window)
    there = set(session.exec(select(Job.id).where(col(Job.id).in_([one.job_id for one in found.rows]))))
    items = [
        ArtifactRow(
            artifact=shown,
            model=str((one.manifest.get("model") or {}).get("name", one.id)),
            target=family(one.manifest["target"]) if "target" in one.manifest else "",
            job_id=one.job_id if one.job_id in there else None,
        )
        for one, shown in zip(found.rows, device_checks.shown(session, found.rows), strict=True)
    ]
    return page_of(items, found, window)


def filter_counts(session: Session) -> dict[str, int]:
    """How many jobs each filter of the jobs page lets through."""
    by_state = dict(session.exec(select(Job.state, func.count()).group_by(col(Job.state))).all())
    return {
        name: sum(number for state, number in by_state.items() if not states or state in states)
        for name, states in FILTERS.items()
    }


def job_page(session: Session, settings: Settings, job_id: str) -> JobPage:
    """One job with all that belongs to it. Raises NotFound naming it."""
    job = jobs.get(session, job_id)
    rows = benchmarks.find(session, job_id=job_id).rows
    workloads = sorted(workload_outs(session, settings, job_id), key=lambda w: -(w.share or 0))
    return JobPage(
        job=job_out(session, job),
        workloads=workloads,
        benchmarks=[BenchmarkOut.model_validate(row.model_dump()) for row in rows],
        artifact=_artifact(session, job),
        evidence=jobs.evidence(session, job_id),
        curve=_curve(session, job_id),
        drift=canary_drift(canaries.ratios_of(session, job_id)),
        log=_log(session, job_id, {workload.workload_id: workload.name for workload in workloads}),
        last_stage=_last_stage(session, job_id),
        peak=peak_for(session, settings, job),
        failures=failure_outs(session, job_id),
    )


def _artifact(session: Session, job: Job) -> ArtifactOut | None:
    if job.artifact_id is None:
        return None
    return device_checks.shown(session, [artifacts.get(session, job.artifact_id)])[0]


def _curve(session: Session, job_id: str) -> list[CurvePoint]:
    return [
        CurvePoint(point["t_sec"], point["trials"], point["predicted_ms"])
        for point in events.curve(session, job_id)
        if all(point[key] is not None for key in ("t_sec", "trials", "predicted_ms"))
    ]


def _log(session: Session, job_id: str, names: dict[str, str]) -> list[LogEntry]:
    query = select(Event).where(Event.job_id == job_id).order_by(col(Event.id).desc()).limit(LOG_LINES)
    return [entry(event, names) for event in session.exec(query)]


def _last_stage(session: Session, job_id: str) -> str | None:
    query = select(Event).where(Event.job_id == job_id, Event.kind == "state").order_by(col(Event.id).desc()).limit(20)
    return next((state for event in session.exec(query) if (state := event.data.get("state")) in STAGES), None)
