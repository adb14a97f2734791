"""What a job's tuning has done and may still do, as pure functions of its rows: the planner's view, budgets, sums."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from tuner.db.models import Job, JobWorkload, Round, Workload
from tuner.errors import StageFailed
from tuner.jobs.tasks import Task
from tuner.jobs.traffic import traffic_bytes
from tuner.search.planner import Budget, WorkloadState

MAX_WORKLOAD_FAILURES = 2  # rounds of one workload that failed or found nothing new, then it is left alone


def history(times_sec: Sequence[float | None], batch: int) -> tuple[tuple[int, float], ...]:
    """Earlier measurements, oldest first (None: failed), as the planner's history: one point per ``batch`` of them."""
    points: list[tuple[int, float]] = []
    best_us = float("inf")
    for start in range(0, len(times_sec), batch):
        chunk = times_sec[start : start + batch]
        best_us = min([best_us, *(seconds * 1e6 for seconds in chunk if seconds is not None)])
        if best_us < float("inf"):
            points.append((start + len(chunk), best_us))
    return tuple(points)


def workload_states(
    rows: Iterable[tuple[JobWorkload, Workload]],
    rounds: Iterable[Round],
    earlier: Mapping[str, tuple[tuple[int, float], ...]],
) -> list[WorkloadState]:
    """The planner's view of a job's workloads; ``earlier`` is each one's history from before this job."""
    by_workload: dict[str, list[Round]] = {}
    for row in rounds:
        by_workload.setdefault(row.workload_id, []).append(row)
    return [
        _workload_state(link, workload, by_workload.get(workload.id, []), earlier.get(workload.id, ()))
        for link, workload in rows
    ]


def predicted_ms(states: Iterable[WorkloadState]) -> float | None:
    """Latency of the model: the sum of launches x best known time; None while a tunable workload has no time."""
    total_us = 0.0
    for state in states:
        launch_us = state.best_us if state.best_us is not None else state.untuned_us
        if launch_us is None and state.tunable:
            return None
        total_us += state.weight * (launch_us or 0.0)
    return total_us / 1e3


def round_sec(row: Round) -> float:
    """Wall time of a finished round."""
    return (row.finished_at - row.started_at).total_seconds() if row.finished_at else 0.0


def spent(rounds: Collection[Round]) -> tuple[int, float]:
    """Trials and seconds that a job's finished rounds took."""
    return sum(row.measured for row in rounds), sum(round_sec(row) for row in rounds)


def budget_left(job: Job, rounds: Collection[Round], in_flight: Iterable[Task], batch: int) -> Budget:
    """What a job may still spend; batches in flight count as spent."""
    trials, spent_sec = spent(rounds)
    return Budget(
        trials_left=job.budget_trials - trials - sum(task.batch for task in in_flight),
        seconds_left=None if job.budget_sec is None else job.budget_sec - spent_sec,
        batch=batch,
        trials_total=job.budget_trials,
    )


def rounds_error(job_id: str, rounds: Sequence[Round]) -> StageFailed:
    """The error of a job whose rounds fail; ``rounds`` end with a failed one."""
    last = rounds[-1]
    return StageFailed(
        f"The last {len(failed_tail(rounds))} rounds of {job_id} failed; {last.id}: {last.error}",
        "See run/logs/engine.log in the data directory.",
    )


def failed_tail(rounds: Sequence[Round]) -> list[Round]:
    """The failed rounds since the last that worked; lost ones neither count nor end the series."""
    tail: list[Round] = []
    for row in reversed(rounds):
        if row.state == "done":
            break
        if row.state == "failed":
            tail.append(row)
    return tail


def _workload_state(
    link: JobWorkload, workload: Workload, rounds: Sequence[Round], earlier: tuple[tuple[int, float], ...]
) -> WorkloadState:
    before, best_us = earlier[-1] if earlier else (0, float("inf"))
    points = list(earlier)
    trials = before
    measured = [row for row in rounds if row.measured]
    for row in measured:
        trials += row.measured
        best_us = min(best_us, row.best_us if row.best_us is not None else best_us)
        if best_us < float("inf"):
            points.append((trials, best_us))
    known = [us for us in (link.best_us, earlier[-1][1] if earlier else None) if us is not None]
    fruitless = [row for row in rounds if row.state == "failed" or (row.state == "done" and not row.measured)]
    busy_sec = sum(row.build_sec + row.measure_sec for row in measured)
    return WorkloadState(
        workload_id=workload.id,
        weight=link.weight,
        flops=workload.flops,
        tunable=link.tunable and len(fruitless) < MAX_WORKLOAD_FAILURES,
        best_us=min(known, default=None),
        untuned_us=link.untuned_us,
        trials=before + link.trials,
        history=tuple(points),
        sec_per_trial=busy_sec / sum(row.measured for row in measured) if busy_sec else None,
        traffic_bytes=traffic_bytes(workload.summary, workload.weight_bytes),
        left_before=bool(before) and not link.trials,
    )
