"""Events of jobs that ended long ago are thinned out, on any database."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine

from tests.support.rows import add_job, make_record, make_workload, utcnow
from tuner.db import canaries, events, records, retention
from tuner.db.engine import read, write
from tuner.db.models import Event, Round
from tuner.db.retention import CURVE_POINTS
from tuner.db.sampling import evenly

pytestmark = pytest.mark.both_databases

LONG_AGO = utcnow() - timedelta(days=90)
BEFORE = utcnow() - timedelta(days=30)
ROUNDS = 3 * CURVE_POINTS


@pytest.fixture
def old_job(engine: Engine) -> str:
    """A job that ended long ago, after many rounds."""
    with write(engine) as session:
        job = add_job(session, "succeeded", finished_at=LONG_AGO)
        for kind in ("state", "workloads", "benchmark", "artifact", "state"):
            events.emit(session, kind, {}, job.id)
        for number in range(ROUNDS):
            events.emit(session, "round", {"trials": number}, job.id)
            events.emit(session, "message", {"message": f"round {number}"}, job.id)
    return job.id


def due(engine: Engine) -> list[str]:
    with read(engine) as session:
        return retention.to_thin(session, BEFORE, 10)


def test_only_jobs_that_ended_long_ago_are_due_and_only_once(engine: Engine, old_job: str) -> None:
    with write(engine) as session:
        add_job(session, "tuning")
        add_job(session, "failed", finished_at=utcnow())
    assert due(engine) == [old_job]
    with write(engine) as session:
        retention.thin(session, old_job)
    assert due(engine) == []


def test_states_and_the_shape_of_the_curve_stay(engine: Engine, old_job: str) -> None:
    with read(engine) as session:
        whole = events.curve(session, old_job)
    with write(engine) as session:
        assert retention.thin(session, old_job) == 2 * ROUNDS - CURVE_POINTS
    with read(engine) as session:
        points = events.curve(session, old_job)
        left = events.since(session, 0, old_job, limit=1000)
    assert len(points) == CURVE_POINTS
    assert (points[0], points[-1]) == (whole[0], whole[-1])
    assert [event.kind for event in left if event.kind != "round"] == [
        "state", "workloads", "benchmark", "artifact", "state",
    ]  # fmt: skip


def test_events_of_other_jobs_stay(engine: Engine, old_job: str) -> None:
    with write(engine) as session:
        other = add_job(session, "failed", finished_at=LONG_AGO).id
        events.emit(session, "message", {}, other)
        retention.thin(session, old_job)
    with read(engine) as session:
        assert len(events.since(session, 0, other)) == 1


def test_old_events_of_no_job_go(engine: Engine) -> None:
    with write(engine) as session:
        session.add(Event(kind="device", data={}, created_at=LONG_AGO))
        events.emit(session, "device", {"key": "local"})
    with write(engine) as session:
        assert retention.forget_jobless(session, BEFORE) == 1
    with read(engine) as session:
        assert [event.data for event in events.since(session, 0)] == [{"key": "local"}]


def test_points_are_kept_at_even_distances_with_both_ends() -> None:
    assert evenly([1, 2, 3], 5) == [1, 2, 3]
    assert evenly(list(range(11)), 3) == [0, 5, 10]
    assert evenly(list(range(1000)), 7)[-1] == 999


def test_a_long_curve_is_told_by_as_many_points_as_a_chart_can_show(engine: Engine) -> None:
    rounds = events.CURVE_POINTS + 1
    with write(engine) as session:
        job_id = add_job(session, "tuning").id
        for number in range(rounds):
            events.emit(session, "round", {"trials": number}, job_id)
    with read(engine) as session:
        told = [point["trials"] for point in events.curve(session, job_id)]
    assert (len(told), told[0], told[-1]) == (events.CURVE_POINTS, 0, rounds - 1)
    assert told == sorted(told)


def test_the_speed_of_a_device_is_told_of_each_round_of_a_job(engine: Engine) -> None:
    with write(engine) as session:
        job_id = add_job(session, "tuning").id
        records.put_workload(session, make_workload())
        for number, ratios in enumerate(([1.0, 1.5], [1.25, None], [None, None], [])):
            row = Round(job_id=job_id, workload_id=make_workload().id, number=number)
            session.add(row)
            session.flush()
            for ratio in ratios:
                record = make_record(f"{number} {ratio}", 1e-3, job_id=job_id, round_id=row.id, canary_ratio=ratio)
                records.append(session, record)
            records.tally(session, row)
    with read(engine) as session:
        assert canaries.ratios_of(session, job_id) == [1.25, 1.25]
