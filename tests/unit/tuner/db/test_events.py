from __future__ import annotations

import pytest
from sqlalchemy import Engine

from tests.support.rows import add_job
from tuner.db import events, jobs
from tuner.db.engine import read, write

pytestmark = pytest.mark.both_databases


def test_events_come_in_order_and_only_the_jobs_own(engine: Engine) -> None:
    with write(engine) as session:
        for number in range(3):
            events.emit(session, "message", {"n": number}, "job-a")
            events.emit(session, "message", {"n": number}, "job-b")
    with read(engine) as session:
        assert [event.data["n"] for event in events.since(session, 0, "job-a")] == [0, 1, 2]
        second = events.since(session, 0, "job-a")[1]
        assert [event.data["n"] for event in events.since(session, second.id or 0, "job-a")] == [2]
        assert len(events.since(session, 0, limit=4)) == 4


def test_an_event_id_is_never_given_twice(engine: Engine) -> None:
    with write(engine) as session:
        job = add_job(session)
        events.emit(session, "state", {}, job.id)
    with read(engine) as session:
        before = events.last_id(session)
    with write(engine) as session:
        jobs.delete(session, jobs.get(session, job.id))
        events.emit(session, "message", {})
    with read(engine) as session:
        assert events.last_id(session) > before


def test_the_curve_is_read_from_round_events(engine: Engine) -> None:
    with write(engine) as session:
        events.emit(session, "round", {"t_sec": 4.0, "trials": 16, "predicted_ms": 90.0, "failed": 1}, "job-a")
        events.emit(session, "state", {"state": "tuning"}, "job-a")
        events.emit(session, "round", {"t_sec": 9.0, "trials": 32, "predicted_ms": 70.0}, "job-a")
    with read(engine) as session:
        assert events.curve(session, "job-a") == [
            {"t_sec": 4.0, "trials": 16, "predicted_ms": 90.0},
            {"t_sec": 9.0, "trials": 32, "predicted_ms": 70.0},
        ]
