"""Who gets the engine's room."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.tasks import IMPORT, REMOTE, ROUND, STAGE, TIMING
from tuner.jobs.room import Applicant, Room, fits_beside
from tuner.jobs.tasks import Task


@pytest.mark.parametrize(
    ("task", "running", "fits"),
    [
        (ROUND, (), True),
        (ROUND, (IMPORT,), False),
        (ROUND, (REMOTE,), False),
        (IMPORT, (ROUND,), False),
        (REMOTE, (ROUND,), False),
        (REMOTE, (TIMING,), False),
        (replace(TIMING, device_key="m1-cpu"), (REMOTE, IMPORT), True),
        (REMOTE, (REMOTE, IMPORT, STAGE), True),
    ],
)
def test_what_is_timed_on_this_machine_is_alone_on_it(task: Task, running: tuple[Task, ...], fits: bool) -> None:
    assert fits_beside(task, running, "local") == fits


def applicant(task: Task, priority: int = 0, turn: int = 0, age_sec: int = 0, ahead: int = 0) -> Applicant:
    return Applicant(task.job_id, priority, turn, -age_sec, task, ahead)


def test_room_goes_by_priority_then_by_turn_then_by_age() -> None:
    room = Room(slots=1, devices={})
    urgent = applicant(IMPORT, priority=5, turn=9)
    waited = applicant(replace(IMPORT, job_id="job-4"), turn=1)
    older = applicant(replace(IMPORT, job_id="job-5"), turn=1, age_sec=60)
    assert room.next([waited, older, urgent], ()) == urgent
    assert room.next([waited, older], ()) == older
    assert room.next([replace(older, turn=2), waited], ()) == waited


def test_nobody_starts_in_an_engine_that_is_full() -> None:
    assert Room(slots=1, devices={}).next([applicant(IMPORT)], (STAGE,)) is None


def test_a_job_that_must_be_alone_keeps_later_ones_waiting() -> None:
    room = Room(slots=4, devices={"local": 1}, own_device="local")
    first, second = applicant(ROUND, age_sec=60), applicant(IMPORT)
    assert room.next([second, first], (replace(IMPORT, key="other"),)) is None
    assert room.next([second, first], ()) == first


def test_an_engine_elsewhere_has_no_machine_to_keep_quiet() -> None:
    assert Room(slots=4, devices={"local": 1}).next([applicant(ROUND)], (IMPORT,)) is not None


def test_a_job_whose_device_is_busy_lets_others_pass() -> None:
    room = Room(slots=4, devices={"m1-cpu": 1})
    busy = applicant(replace(REMOTE, job_id="job-9"), age_sec=60)
    assert room.next([busy, applicant(IMPORT)], (REMOTE,)) == applicant(IMPORT)
    assert room.next([replace(busy, ahead=1)], (REMOTE,)) == replace(busy, ahead=1)
