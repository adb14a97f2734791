"""The life of a job as a pure state machine: which state follows which event, and what each state runs.

submitted -> importing -> extracting -> tuning -> compiling -> verifying -> benchmarking -> succeeded
                                 (any) -> failed | cancelled;  tuning <-> paused

A job that only compiles leaves out tuning and benchmarking.
"""

from __future__ import annotations

from typing import Literal, get_args

from tuner.schemas import JobState

Event = Literal["start", "done", "pause", "resume", "fail", "cancel"]

TERMINAL: frozenset[JobState] = frozenset({"succeeded", "failed", "cancelled"})
ACTIVE: tuple[JobState, ...] = tuple(state for state in get_args(JobState) if state not in TERMINAL)
# Tuning is still to come, or goes on: such a job can be paused.
TUNING_AHEAD: tuple[JobState, ...] = ("submitted", "importing", "extracting", "tuning")

# The function of tuner.jobs.stages that a state runs as one task. Tuning is a stream of rounds instead.
STAGES: dict[JobState, str] = {
    "importing": "import_model",
    "extracting": "extract",
    "compiling": "compile_module",
    "verifying": "verify",
    "benchmarking": "benchmark",
}
ROUND = "tune_round"

_TRANSITIONS: dict[tuple[JobState, Event], JobState] = {
    ("submitted", "start"): "importing",
    ("importing", "done"): "extracting",
    ("extracting", "done"): "tuning",
    ("tuning", "done"): "compiling",
    ("tuning", "pause"): "paused",
    ("paused", "resume"): "tuning",
    ("compiling", "done"): "verifying",
    ("verifying", "done"): "benchmarking",
    ("benchmarking", "done"): "succeeded",
    **{(state, "fail"): "failed" for state in ACTIVE},
    **{(state, "cancel"): "cancelled" for state in ACTIVE},
}

_COMPILE_ONLY: dict[tuple[JobState, Event], JobState] = {
    ("extracting", "done"): "compiling",
    ("verifying", "done"): "succeeded",
}

# Progress when a state begins; tuning fills the span up to where compiling begins.
_BEGINS: dict[JobState, float] = {
    "submitted": 0.0,
    "importing": 0.01,
    "extracting": 0.05,
    "tuning": 0.10,
    "paused": 0.10,
    "compiling": 0.90,
    "verifying": 0.95,
    "benchmarking": 0.97,
    "succeeded": 1.0,
}
_BEGINS_COMPILE_ONLY: dict[JobState, float] = {"extracting": 0.30, "compiling": 0.40}


class IllegalTransition(ValueError):
    """An event that the state does not know: a bug of the caller, never a user's doing."""


def advance(state: JobState, event: Event, compile_only: bool = False) -> JobState:
    """The state that follows ``event``, in the life of a job that tunes or of one that only compiles.

    Raises ``IllegalTransition`` when the state does not know the event.
    """
    try:
        return (_TRANSITIONS | _COMPILE_ONLY if compile_only else _TRANSITIONS)[(state, event)]
    except KeyError:
        raise IllegalTransition(f"a job that is {state} can't take the event {event!r}") from None


def budget_used(trials: int, budget_trials: int, seconds: float, budget_seconds: float | None) -> float:
    """The part of the budget that is gone, 0..1: trials or seconds, whichever is further."""
    by_trials = trials / budget_trials if budget_trials > 0 else 1.0
    by_seconds = seconds / budget_seconds if budget_seconds else 0.0
    return min(1.0, max(by_trials, by_seconds))


def progress(state: JobState, used: float, before: float = 0.0, compile_only: bool = False) -> float:
    """How far a job is, 0..1, from its state and the part of its tuning budget that is used.

    Never falls below ``before``; a job that ended early keeps what it had.
    """
    begins = (_BEGINS | _BEGINS_COMPILE_ONLY if compile_only else _BEGINS).get(state)
    if begins is None:
        return before
    span = _BEGINS["compiling"] - _BEGINS["tuning"] if state in ("tuning", "paused") else 0.0
    return max(before, begins + span * min(1.0, max(0.0, used)))
