"""What a job says of itself."""

from __future__ import annotations

from tuner.schemas import JobState

MESSAGES: dict[JobState, str] = {
    "importing": "importing the model",
    "extracting": "extracting the workloads",
    "tuning": "tuning",
    "paused": "paused",
    "compiling": "compiling the best schedules",
    "verifying": "checking the outputs",
    "benchmarking": "timing the module",
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


def message_of(state: JobState, compile_only: bool) -> str:
    """What a job in this state says of itself."""
    return (MESSAGES | _COMPILE_ONLY_MESSAGES if compile_only else MESSAGES)[state]


def tuning_message(known_trials: int) -> str:
    """What a job that tunes says of itself."""
    return f"{MESSAGES['tuning']}, starting from {known_trials} known records" if known_trials else MESSAGES["tuning"]
