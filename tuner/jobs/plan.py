"""What the coordinator does next for one job, as pure functions of what is known about it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tuner.db.models import Job, JobWorkload, Round, Workload
from tuner.errors import StageFailed, StorageFull
from tuner.jobs.traffic import traffic_bytes
from tuner.schemas import JobState
from tuner.search.planner import Budget, Stop, WorkloadState
from tuner.state import STAGES, Event

MAX_ATTEMPTS = 3  # deaths of the process that runs a stage, or of rounds in a row
MAX_FAILED_ROUNDS = 5  # in a row, then the job fails
MAX_WORKLOAD_FAILURES = 2  # rounds of one workload that failed or found nothing new, then it is left alone
CANCEL_GRACE_SEC = 5.0  # a round may end by itself after a cancel, then its process is ended
ROUND_DEADLINE_SEC = 600.0
STAGE_DEADLINE_SEC = 3600.0

NEEDS_DEVICE: frozenset[JobState] = frozenset({"extracting", "tuning", "compiling"})  # they measure
RUNS_MODULE: frozenset[JobState] = frozenset({"verifying", "benchmarking"})  # here, or on a remote device

MESSAGES: dict[JobState, str] = {
    "importing": "importing the model",
    "extracting": "extracting the workloads",
    "tuning": "tuning",
    "paused": "paused",
    "compiling": "compiling the best schedules",
    "verifying": "comparing the outputs with PyTorch's",
    "benchmarking": "timing it against PyTorch",
    "succeeded": "done",
    "cancelled": "cancelled",
}
_COMPILE_ONLY_MESSAGES: dict[JobState, str] = {
    "compiling": "compiling from known records and default schedules",
    "verifying": "checking the library",
}

STOPS: dict[str, str] = {
    "trials": "the trial budget is used up",
    "seconds": "the time budget is used up",
    "gain": "no further gain is expected",
    "nothing": "nothing is left to tune",
}


@dataclass(frozen=True)
class Task:
    """A stage or a round that the engine runs; ``since`` is when it was submitted, in seconds of a monotonic clock."""

    key: str
    job_id: str
    since: float
    stage: str = ""
    workload_id: str = ""
    batch: int = 0
    device_key: str = ""

    @property
    def is_round(self) -> bool:
        """A round's key is the id of its row."""
        return not self.stage


@dataclass(frozen=True)
class Situation:
    """All that decides what a job does next; the three reasons are texts for people, empty when all is well."""

    job_id: str
    state: JobState
    wish: str = ""
    wish_age_sec: float = 0.0
    running: tuple[Task, ...] = ()
    now: float = 0.0
    engine_problem: str = ""
    device_problem: str = ""
    storage_problem: str = ""
    target_known: bool = True
    remote: bool = False  # its device is another machine
    compile_only: bool = False


@dataclass(frozen=True)
class Move:
    """Take an event of the state machine."""

    event: Event
    message: str | None = None
    error: dict[str, str] | None = None


@dataclass(frozen=True)
class RunStage:
    """Submit the stage of this name as soon as the engine has room."""

    name: str


@dataclass(frozen=True)
class RunRounds:
    """Plan rounds as soon as the engine and a device have room."""


@dataclass(frozen=True)
class Kill:
    """End these tasks with their processes."""

    keys: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Wait:
    """Nothing to do but to say why, if there is something to say."""

    message: str = ""


@dataclass(frozen=True)
class DropWish:
    """The wish has no meaning in this state any more."""


Action = Move | RunStage | RunRounds | Kill | Wait | DropWish


def decide(at: Situation) -> Action:
    """The one thing to do next for a job. Wishes come first, then overdue tasks, then what the state asks for."""
    return _grant_wish(at) or _end_overdue(at) or _go_on(at)


def needs_device(state: JobState, remote: bool, compile_only: bool = False) -> bool:
    """Does a job in this state use its device? The finished module runs in the engine, or on a ``remote`` device."""
    return not compile_only and (state in NEEDS_DEVICE or (remote and state in RUNS_MODULE))


def message_of(state: JobState, compile_only: bool) -> str:
    """What a job in this state says of itself."""
    return (MESSAGES | _COMPILE_ONLY_MESSAGES if compile_only else MESSAGES)[state]


def fits_beside(task: Task, running: Collection[Task], local_key: str) -> bool:
    """May a task start beside those that run? What is timed on this machine (device ``local_key``) is alone on it."""
    return not running or not any(_is_timed_here(one, local_key) for one in (task, *running))


def stage_key(job: Job) -> str:
    """The engine's key for the stage that a job is in: the same until the process that ran it has died."""
    return f"{job.id}/{STAGES[job.state]}/{job.attempts}"  # type: ignore[index]


def death_error(job_id: str, what: str, why: str, deaths: int) -> StageFailed:
    """The error of a job whose process died once too often."""
    return StageFailed(
        f"The process that ran {what} of {job_id} was lost {deaths} times in a row ({why}).",
        "Often memory ran out: see run/logs/engine.log in the data directory, then submit the job again.",
    )


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


def tuning_message(known_trials: int) -> str:
    """What a job that tunes says of itself."""
    return f"{MESSAGES['tuning']}, starting from {known_trials} known records" if known_trials else MESSAGES["tuning"]


def budget_left(job: Job, rounds: Collection[Round], in_flight: Iterable[Task], batch: int) -> Budget:
    """What a job may still spend; batches in flight count as spent."""
    trials, spent_sec = spent(rounds)
    return Budget(
        trials_left=job.budget_trials - trials - sum(task.batch for task in in_flight),
        seconds_left=None if job.budget_sec is None else job.budget_sec - spent_sec,
        batch=batch,
        trials_total=job.budget_trials,
    )


def after_stop(job_id: str, stop: Stop, rounds: Sequence[Round]) -> Move:
    """How a job leaves tuning: on to compiling, or failed when not one of its rounds worked."""
    if stop.reason == "nothing" and rounds and all(row.state == "failed" for row in rounds):
        return Move("fail", error=rounds_error(job_id, rounds).as_dict())
    return Move("done", f"{STOPS[stop.reason]}; {MESSAGES['compiling']}")


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


def _is_timed_here(task: Task, local_key: str) -> bool:
    return task.device_key == local_key or (task.stage == STAGES["benchmarking"] and not task.device_key)


def _grant_wish(at: Situation) -> Action | None:
    match at.wish:
        case "cancel" if not at.running:
            return Move("cancel")
        case "cancel" if at.wish_age_sec > CANCEL_GRACE_SEC:
            return Kill(tuple(task.key for task in at.running), "cancelled")
        case "cancel":
            return Wait("cancelling; what runs now may end first")
        case "pause" if at.state == "tuning":
            return Wait("pausing after the round that runs now") if at.running else Move("pause")
        case "pause" if at.state not in ("submitted", "importing", "extracting"):
            return DropWish()
        case "resume":
            return Move("resume") if at.state == "paused" else DropWish()
    return None


def _end_overdue(at: Situation) -> Action | None:
    overdue = tuple(
        task.key
        for task in at.running
        if at.now - task.since > (ROUND_DEADLINE_SEC if task.is_round else STAGE_DEADLINE_SEC)
    )
    return Kill(overdue, "it ran past its deadline") if overdue else None


def _go_on(at: Situation) -> Action:
    if at.state == "paused":
        return Wait()
    if at.engine_problem:
        return Wait(at.engine_problem)
    if at.state == "tuning":
        return _tune(at)
    if at.running:
        return Wait()
    if at.storage_problem:
        return Move("fail", error=StorageFull(at.storage_problem, _STORAGE_HINT).as_dict())
    if at.state == "submitted":
        # Without its device's word a local target is not known, and nothing can be compiled for it.
        return RunStage(STAGES["importing"]) if at.target_known else Wait(at.device_problem)
    if at.device_problem and needs_device(at.state, at.remote, at.compile_only):
        return Wait(at.device_problem)
    return RunStage(STAGES[at.state])


def _tune(at: Situation) -> Action:
    if at.storage_problem:
        if at.running:
            return Wait("pausing after the round that runs now: " + at.storage_problem)
        return Move("pause", f"paused: {at.storage_problem} {_STORAGE_HINT} Then `tunesmith resume {at.job_id}`.")
    if at.device_problem:
        return Wait() if at.running else Wait(at.device_problem)
    return RunRounds()


_STORAGE_HINT = "Free some space (`df -h` shows how full the disk is)."


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
