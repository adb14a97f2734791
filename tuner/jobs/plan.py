"""What the coordinator does next for one job, as pure functions of what is known about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuner.db.models import Round
from tuner.errors import StageFailed
from tuner.jobs.messages import MESSAGES, STOPS
from tuner.jobs.tasks import Task, needs_device
from tuner.jobs.tuning import rounds_error
from tuner.schemas import JobState
from tuner.search.planner import Stop
from tuner.state import STAGES, Event

MAX_ATTEMPTS = 3  # deaths of the process that runs a stage, or of rounds in a row
WAITS_FOR_TURN = "waiting for its turn"
CANCEL_GRACE_SEC = 5.0  # a round may end by itself after a cancel, then its process is ended
ROUND_DEADLINE_SEC = 600.0
STAGE_DEADLINE_SEC = 3600.0


@dataclass(frozen=True)
class Situation:
    """All that decides what a job does next; problems and reasons are texts for people, empty when all is well."""

    job_id: str
    state: JobState
    wish: str = ""
    wish_age_sec: float = 0.0
    running: tuple[Task, ...] = ()
    now: float = 0.0
    fetching: str = ""  # what the files of its model are waited for, or how many are here
    engine_problem: str = ""
    device_problem: str = ""
    storage_problem: str = ""
    rest_reason: str = ""  # why it is not to be tried again just now
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


def is_stale(message: str) -> bool:
    """Does a job that waits for nothing but its turn still say that it waits for something else?"""
    return message.startswith("waiting") and message != WAITS_FOR_TURN


def after_stop(job_id: str, stop: Stop, rounds: Sequence[Round]) -> Move:
    """How a job leaves tuning: on to compiling, or failed when not one of its rounds worked."""
    if stop.reason == "nothing" and rounds and all(row.state == "failed" for row in rounds):
        return Move("fail", error=rounds_error(job_id, rounds).as_dict())
    return Move("done", f"{STOPS[stop.reason]}; {MESSAGES['compiling']}")


def death_error(job_id: str, what: str, why: str, deaths: int) -> StageFailed:
    """The error of a job whose process died once too often."""
    return StageFailed(
        f"The process that ran {what} of {job_id} was lost {deaths} times in a row ({why}).",
        "Often memory ran out: see run/logs/engine.log in the data directory, then submit the job again.",
    )


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
    if at.fetching:
        return Wait(_without_room(at) or at.fetching)
    if at.engine_problem:
        return Wait(at.engine_problem)
    if at.rest_reason:
        return Wait() if at.running else Wait(at.rest_reason)
    if at.state == "tuning":
        return _tune(at)
    if at.running:
        return Wait()
    if at.storage_problem:
        return Wait(_without_room(at))
    if at.state == "submitted":
        # Without its device's word a local target is not known, and nothing can be compiled for it.
        return RunStage(STAGES["importing"]) if at.target_known else Wait(at.device_problem)
    if at.device_problem and needs_device(at.state, at.remote, at.compile_only):
        return Wait(at.device_problem)
    return RunStage(STAGES[at.state])


def _without_room(at: Situation) -> str:
    return f"waiting for room on the disk: {at.storage_problem} {_STORAGE_HINT}" if at.storage_problem else ""


def _tune(at: Situation) -> Action:
    if at.storage_problem:
        if at.running:
            return Wait("pausing after the round that runs now: " + at.storage_problem)
        return Move("pause", f"paused: {at.storage_problem} {_STORAGE_HINT} Then `tunesmith resume {at.job_id}`.")
    if at.device_problem:
        return Wait() if at.running else Wait(at.device_problem)
    return RunRounds()


_STORAGE_HINT = "Free some space (`df -h` shows how full the disk is)."
