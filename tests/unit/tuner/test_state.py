"""The state machine of a job."""

from __future__ import annotations

from typing import get_args

import pytest

from tuner.schemas import JobState
from tuner.state import ACTIVE, STAGES, TERMINAL, Event, IllegalTransition, advance, budget_used, progress

STATES: tuple[JobState, ...] = get_args(JobState)
FLOW: list[tuple[JobState, Event, JobState]] = [
    ("submitted", "start", "importing"),
    ("importing", "done", "extracting"),
    ("extracting", "done", "tuning"),
    ("tuning", "pause", "paused"),
    ("paused", "resume", "tuning"),
    ("tuning", "done", "compiling"),
    ("compiling", "done", "verifying"),
    ("verifying", "done", "benchmarking"),
    ("benchmarking", "done", "succeeded"),
]


@pytest.mark.parametrize(("state", "event", "expected"), FLOW)
def test_an_event_leads_to_the_next_state(state: JobState, event: Event, expected: JobState) -> None:
    assert advance(state, event) == expected


@pytest.mark.parametrize("state", ACTIVE)
@pytest.mark.parametrize(("event", "expected"), [("cancel", "cancelled"), ("fail", "failed")])
def test_every_active_state_can_be_cancelled_and_can_fail(state: JobState, event: Event, expected: JobState) -> None:
    assert advance(state, event) == expected


def test_a_job_that_only_compiles_neither_tunes_nor_times() -> None:
    state: JobState = "submitted"
    life = []
    while state not in TERMINAL:
        life.append(state)
        state = advance(state, "start" if state == "submitted" else "done", compile_only=True)
    assert (life, state) == (["submitted", "importing", "extracting", "compiling", "verifying"], "succeeded")
    shares = [progress(state, 1.0, compile_only=True) for state in life]
    assert shares == sorted(shares)


def test_no_other_transition_exists() -> None:
    allowed = {(state, event) for state, event, _ in FLOW}
    allowed |= {(state, event) for state in ACTIVE for event in ("cancel", "fail")}
    for state in STATES:
        for event in get_args(Event):
            if (state, event) not in allowed:
                with pytest.raises(IllegalTransition, match=state):
                    advance(state, event)


def test_states_are_active_or_terminal() -> None:
    assert set(ACTIVE) | TERMINAL == set(STATES)
    assert not set(ACTIVE) & TERMINAL


def test_every_state_that_ends_by_itself_runs_a_stage() -> None:
    assert set(STAGES) == {state for state, event, _ in FLOW if event == "done"} - {"tuning"}


@pytest.mark.parametrize(
    ("trials", "budget_trials", "seconds", "budget_seconds", "used"),
    [
        (0, 64, 0.0, None, 0.0),
        (16, 64, 0.0, None, 0.25),
        (16, 64, 300.0, 600.0, 0.5),
        (48, 64, 300.0, 600.0, 0.75),
        (80, 64, 0.0, None, 1.0),
        (0, 64, 900.0, 600.0, 1.0),
    ],
)
def test_the_budget_is_used_by_whichever_of_trials_and_time_is_further(
    trials: int, budget_trials: int, seconds: float, budget_seconds: float | None, used: float
) -> None:
    assert budget_used(trials, budget_trials, seconds, budget_seconds) == pytest.approx(used)


def test_progress_never_falls_along_a_life_and_ends_at_one() -> None:
    life: list[tuple[JobState, float]] = [
        ("submitted", 0.0),
        ("importing", 0.0),
        ("extracting", 0.0),
        ("tuning", 0.0),
        ("tuning", 0.5),
        ("paused", 0.5),
        ("tuning", 0.5),
        ("tuning", 1.0),
        ("compiling", 1.0),
        ("verifying", 1.0),
        ("benchmarking", 1.0),
        ("succeeded", 1.0),
    ]
    found = [progress(state, used) for state, used in life]
    assert found == sorted(found)
    assert (found[0], found[-1]) == (0.0, 1.0)


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_job_that_ended_early_keeps_its_progress(state: JobState) -> None:
    assert progress(state, 0.7, before=0.4) == 0.4


def test_progress_stays_when_the_budget_seems_less_used_than_before() -> None:
    assert progress("tuning", 0.1, before=0.6) == 0.6
