"""What a job's tuning has done and may still do, as pure functions of its rows: the planner's view, budgets, sums."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tuner.db.models import Job, JobWorkload, Round, Workload
from tuner.errors import StageFailed
from tuner.jobs.course import Course, History, follow
from tuner.jobs.precisions import precision_in, product_in, sums
from tuner.jobs.tasks import Task
from tuner.jobs.traffic import traffic_bytes
from tuner.search.planner import Budget, WorkloadState

MAX_FAILED_ROUNDS = 8  # of a job in a row, then it fails
_LONGEST_REST_SEC = 60.0


def history(times_sec: Sequence[float | None], batch: int) -> History:
    """Earlier measurements, oldest first (None: failed), as the planner's history: one point per ``batch`` of them."""
    points: list[tuple[int, float]] = []
    best_us = float("inf")
    for start in range(0, len(times_sec), batch):
        chunk = times_sec[start : start + batch]
        best_us = min([best_us, *(seconds * 1e6 for seconds in chunk if seconds is not None)])
        if best_us < float("inf"):
            points.append((start + len(chunk), best_us))
    return tuple(points)


def workload_states(rows: Iterable[tuple[JobWorkload, Workload]], courses: Mapping[str, Course]) -> list[WorkloadState]:
    """The planner's view of a job's workloads, of what each one's rounds came to."""
    return [_workload_state(link, workload, courses.get(workload.id, Course())) for link, workload in rows]


def given_up(rounds: Iterable[Round]) -> dict[str, str]:
    """Why workloads, by id, are not tuned any further though they could be better: each of their last rounds failed."""
    return {id_: why for id_, course in follow(rounds, {}).items() if (why := course.given_up)}


def resting(rounds: Sequence[Round], courses: Mapping[str, Course]) -> set[str]:
    """Workloads that let others go first: after each further failure in a row one more round of others."""
    failing = {id_: course.failures for id_, course in courses.items() if course.failures}
    return {id_ for id_, count in failing.items() if any(row.workload_id == id_ for row in rounds[-count:])}


def rest_after(tail: Sequence[Round]) -> tuple[float, str]:
    """How long a job rests after rounds that failed in a row, latest first, in seconds, and what it says meanwhile."""
    if not tail:
        return 0.0, ""
    seconds = min(_LONGEST_REST_SEC, 2.0 ** len(tail))
    return seconds, f"waiting {seconds:.0f} s after a round that failed: {tail[0].error}"


def predicted_ms(states: Iterable[WorkloadState]) -> float | None:
    """Latency of the model: the sum of launches x best known time, at the quickest of the precisions that are tried;
    None while a tunable workload has no time."""
    parts = []
    for state in states:
        launch_us = state.best_us if state.best_us is not None else state.untuned_us
        if launch_us is None and state.tunable:
            return None
        parts.append((state.product or state.workload_id, state.precision, state.weight * (launch_us or 0.0)))
    return min(sums(parts).values(), default=0.0) / 1e3


def measured(courses: Mapping[str, Course]) -> int:
    """Trials that a job's rounds took."""
    return sum(course.measured for course in courses.values())


def budget_left(job: Job, courses: Mapping[str, Course], in_flight: Iterable[Task], batch: int) -> Budget:
    """What a job may still spend; batches in flight count as spent."""
    return Budget(
        trials_left=job.budget_trials - measured(courses) - sum(task.batch for task in in_flight),
        seconds_left=None if job.budget_sec is None else job.budget_sec - job.tuning_sec,
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


def _workload_state(link: JobWorkload, workload: Workload, course: Course) -> WorkloadState:
    known = [us for us in (link.best_us, *(us for _, us in course.before[-1:])) if us is not None]
    return WorkloadState(
        workload_id=workload.id,
        weight=link.weight,
        flops=workload.flops,
        tunable=link.tunable and not course.is_exhausted and not course.given_up,
        best_us=min(known, default=None),
        untuned_us=link.untuned_us,
        trials=course.known_trials + link.trials,
        history=course.history,
        sec_per_trial=course.busy_sec / course.measured if course.busy_sec else None,
        traffic_bytes=traffic_bytes(workload.summary, workload.weight_bytes),
        left_before=bool(course.known_trials) and not link.trials,
        product=product_in(workload.name, workload.summary),
        precision=precision_in(workload.name),
    )
