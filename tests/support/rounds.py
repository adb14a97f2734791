"""Rounds of a job, and how they look to the planner."""

from __future__ import annotations

from datetime import timedelta

from tests.support.rows import make_workload, utcnow
from tuner.db.models import JobWorkload, Round, Workload
from tuner.jobs import tuning
from tuner.jobs.course import Course, follow
from tuner.search.planner import WorkloadState


def round_of(
    measured: int,
    state: str = "done",
    best_us: float | None = None,
    workload: Workload | None = None,
    exhausted: bool = False,
) -> Round:
    started = utcnow()
    return Round(
        id="rnd-x",
        job_id="job-1",
        workload_id=(workload or make_workload()).id,
        state=state,
        measured=measured,
        best_us=best_us,
        exhausted=exhausted,
        build_sec=2.0,
        measure_sec=3.0,
        error="no schedule" if state == "failed" else "",
        started_at=started,
        finished_at=started + timedelta(seconds=10),
    )


def states_of(
    rounds: list[Round],
    earlier: tuple[tuple[int, float], ...] = (),
    trials: int = 0,
    best_us: float | None = None,
) -> list[WorkloadState]:
    workload = make_workload()
    link = JobWorkload(job_id="job-1", workload_id=workload.id, weight=12, trials=trials, best_us=best_us)
    return tuning.workload_states([(link, workload)], follow(rounds, {workload.id: Course(earlier)}))
