"""What a job's tuning has done and may still do, as pure functions of its rows: the planner's view, budgets, sums."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from tuner.db.models import Job, JobWorkload, Round, Workload
from tuner.errors import StageFailed
from tuner.jobs.tasks import Task
from tuner.jobs.traffic import traffic_bytes
from tuner.search.planner import Budget, WorkloadState

MAX_FAILED_ROUNDS = 8  # of a job in a row, then it fails
MAX_WORKLOAD_FAILURES = 4  # rounds of one workload in a row that failed, then it is given up
MAX_EMPTY_ROUNDS = 2  # of one workload in a row that found nothing new, then there is nothing to find
_LONGEST_REST_SEC = 60.0


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
    rounds = list(rounds)
    by_workload = _by_workload(rounds)
    closed = {id_ for id_, own in by_workload.items() if _is_exhausted(own)} | given_up(rounds).keys()
    return [
        _workload_state(
            link,
            workload,
            by_workload.get(workload.id, []),
            earlier.get(workload.id, ()),
            link.tunable and workload.id not in closed,
        )
        for link, workload in rows
    ]


def given_up(rounds: Sequence[Round]) -> dict[str, str]:
    """Why workloads, by id, are not tuned any further though they could be better: each of their last rounds failed."""
    found = {}
    for workload_id, own in _by_workload(rounds).items():
        tail = failed_tail(own)
        if len(tail) >= MAX_WORKLOAD_FAILURES:
            found[workload_id] = f"its last {len(tail)} rounds failed: {tail[0].error}"
    return found


def resting(rounds: Sequence[Round]) -> set[str]:
    """Workloads that let others go first: after each further failure in a row one more round of others."""
    return {id_ for id_ in _by_workload(rounds) if _rests(id_, rounds)}


def rest_after(tail: Sequence[Round]) -> tuple[float, str]:
    """How long a job rests after rounds that failed in a row, latest first, in seconds, and what it says meanwhile."""
    if not tail:
        return 0.0, ""
    seconds = min(_LONGEST_REST_SEC, 2.0 ** len(tail))
    return seconds, f"waiting {seconds:.0f} s after a round that failed: {tail[0].error}"


def predicted_ms(states: Iterable[WorkloadState]) -> float | None:
    """Latency of the model: the sum of launches x best known time; None while a tunable workload has no time."""
    total_us = 0.0
    for state in states:
        launch_us = state.best_us if state.best_us is not None else state.untuned_us
        if launch_us is None and state.tunable:
            return None
        total_us += state.weight * (launch_us or 0.0)
    return total_us / 1e3


def measured(rounds: Collection[Round]) -> int:
    """Trials that a job's rounds took."""
    return sum(row.measured for row in rounds)


def budget_left(job: Job, rounds: Collection[Round], in_flight: Iterable[Task], batch: int) -> Budget:
    """What a job may still spend; batches in flight count as spent."""
    return Budget(
        trials_left=job.budget_trials - measured(rounds) - sum(task.batch for task in in_flight),
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


def _by_workload(rounds: Iterable[Round]) -> dict[str, list[Round]]:
    found: dict[str, list[Round]] = {}
    for row in rounds:
        found.setdefault(row.workload_id, []).append(row)
    return found


def _is_exhausted(rounds: Sequence[Round]) -> bool:
    """Did a workload's last rounds find nothing that was not measured before?"""
    ended = [row for row in rounds if row.state == "done"]
    return len(ended) >= MAX_EMPTY_ROUNDS and not any(row.measured for row in ended[-MAX_EMPTY_ROUNDS:])


def _rests(workload_id: str, rounds: Sequence[Round]) -> bool:
    own = [number for number, row in enumerate(rounds) if row.workload_id == workload_id]
    failures = len(failed_tail([rounds[number] for number in own]))
    return failures > 0 and len(rounds) - 1 - own[-1] < failures


def _workload_state(
    link: JobWorkload,
    workload: Workload,
    rounds: Sequence[Round],
    earlier: tuple[tuple[int, float], ...],
    tunable: bool,
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
    busy_sec = sum(row.build_sec + row.measure_sec for row in measured)
    return WorkloadState(
        workload_id=workload.id,
        weight=link.weight,
        flops=workload.flops,
        tunable=tunable,
        best_us=min(known, default=None),
        untuned_us=link.untuned_us,
        trials=before + link.trials,
        history=tuple(points),
        sec_per_trial=busy_sec / sum(row.measured for row in measured) if busy_sec else None,
        traffic_bytes=traffic_bytes(workload.summary, workload.weight_bytes),
        left_before=bool(before) and not link.trials,
    )
