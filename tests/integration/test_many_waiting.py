"""A long queue costs little: what its jobs are to say is written together, and those that wait are left alone."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, event

from tests.support.coordination import Bench
from tests.support.fake_engine import Hangs
from tests.support.rows import add_job
from tuner.config import Settings
from tuner.db import jobs
from tuner.db.engine import read, write
from tuner.jobs import plan, sayings
from tuner.jobs.coordinator import Coordinator

pytestmark = pytest.mark.both_databases

MANY = 60


def hang(settings: Settings, job_id: str) -> None:
    raise Hangs


@pytest.fixture
def bench(settings: Settings, engine: Engine) -> Bench:
    bench = Bench(settings, engine)
    with write(engine) as session:
        for _ in range(MANY):
            add_job(session, target_family="llvm-test", target_json={"kind": "llvm"})
    bench.cluster.stages["import_model"] = hang
    bench.run_until(lambda: bench.cluster.running, 5)
    return bench


@pytest.fixture
def begun(engine: Engine) -> list[str]:
    """Transactions that write."""
    found: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("BEGIN IMMEDIATE") or "pg_advisory_xact_lock" in statement:
            found.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    return found


def messages(bench: Bench) -> set[str]:
    """What those say that have not begun."""
    with read(bench.database) as session:
        return {job.message for job in jobs.active(session) if job.state == "submitted"}


def test_an_engine_that_goes_or_comes_back_is_told_of_in_few_transactions(
    bench: Bench, begun: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sayings, "AT_A_TIME", 25)
    bench.cluster.is_down = True
    bench.pass_()
    (message,) = messages(bench)
    assert message.startswith("waiting for the engine")
    assert len(begun) < MANY / 5
    bench.pass_()
    bench.cluster.is_down = False
    bench.pass_()
    assert messages(bench) == {plan.WAITS_FOR_TURN}
    assert len(begun) < MANY / 3
    for job_id in ids(bench)[1:]:
        assert [event.data["message"] for event in bench.events(job_id, "message")] == [message, plan.WAITS_FOR_TURN]


def test_a_device_that_says_what_it_is_is_noted_in_all_jobs_at_once(bench: Bench, begun: list[str]) -> None:
    with write(bench.database) as session:
        for job_id in ids(bench)[1:]:
            job = jobs.get(session, job_id)
            job.target, job.target_family, job.target_json = "linux-arm64", "", {}
    begun.clear()
    bench.pass_()
    with read(bench.database) as session:
        families = {jobs.get(session, job_id).target_family for job_id in ids(bench)[1:]}
    assert len(families) == 1
    assert families != {""}
    assert len(begun) < MANY / 5


def test_one_that_was_cancelled_meanwhile_is_not_talked_over(bench: Bench) -> None:
    _, first, second, *_ = ids(bench)
    waiting = sayings.Sayings(bench.coordinator._lead)
    bench.pass_()
    with read(bench.database) as session:
        for job in jobs.active(session):
            waiting.add(job, "waiting for rain")
    with write(bench.database) as session:
        jobs.get(session, first).wish = "cancel"
    waiting.write()
    assert bench.job(first).message != "waiting for rain"
    assert bench.job(second).message == "waiting for rain"


def test_jobs_that_lack_nothing_but_room_are_not_looked_at_in_each_pass(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    attend = Coordinator._attend

    def note(coordinator: Coordinator, job: jobs.ActiveJob) -> bool:
        looked.append(job.id)
        return attend(coordinator, job)

    bench.pass_()
    monkeypatch.setattr(Coordinator, "_attend", note)
    bench.pass_(0.3)
    assert len(looked) < MANY / 5
    last = ids(bench)[-1]
    with write(bench.database) as session:
        jobs.get(session, last).wish = "cancel"
    bench.pass_(0.3)
    assert bench.job(last).state == "cancelled"


def ids(bench: Bench) -> list[str]:
    with read(bench.database) as session:
        return [job.id for job in jobs.active(session)]
