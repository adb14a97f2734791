"""What any database must do under ``read`` and ``write``, be it SQLite or Postgres."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from tests.support.rows import add_job, make_record, make_workload, utcnow
from tuner.config import Settings
from tuner.db import artifacts, clock, events, jobs, leases, models_, records
from tuner.db.engine import read, write
from tuner.db.models import Artifact, Device, Job
from tuner.db.paging import Found
from tuner.jobs import submit
from tuner.schemas import JobIn

pytestmark = pytest.mark.both_databases


def at_once(engine: Engine, change: Callable[[Session, int], object], threads: int = 4) -> list[object]:
    """What ``change`` gave to each of several writers, which were let go at the same time."""
    ready, found, failed = threading.Barrier(threads), list[object](), list[BaseException]()

    def work(number: int) -> None:
        ready.wait()
        try:
            with write(engine) as session:
                found.append(change(session, number))
        except Exception as error:
            failed.append(error)

    running = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert failed == []
    return found


def test_write_rolls_back_on_an_exception(engine: Engine) -> None:
    def fail_half_way() -> None:
        with write(engine) as session:
            add_job(session)
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    with read(engine) as session:
        assert jobs.find(session).total == 0


def test_write_takes_the_lock_at_the_start_so_no_update_is_lost(engine: Engine) -> None:
    with write(engine) as session:
        job_id = add_job(session).id

    def count(times: int) -> None:
        for _ in range(times):
            with write(engine) as session:
                job = jobs.get(session, job_id)
                job.trials += 1
                session.add(job)

    threads = [threading.Thread(target=count, args=(20,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with read(engine) as session:
        assert jobs.get(session, job_id).trials == 80


def test_a_reader_sees_one_snapshot_while_a_writer_commits(engine: Engine) -> None:
    with read(engine) as reader:
        assert jobs.find(reader).total == 0
        with write(engine) as session:
            add_job(session)
        assert jobs.find(reader).total == 0
    with read(engine) as reader:
        assert jobs.find(reader).total == 1


def test_a_writer_sees_what_was_committed_while_it_waited_for_its_turn(engine: Engine) -> None:
    seen: list[int] = []

    def look() -> None:
        with write(engine) as session:
            seen.append(jobs.find(session).total)

    other = threading.Thread(target=look)
    with write(engine) as session:
        assert jobs.find(session).total == 0
        other.start()
        other.join(0.3)
        add_job(session)
    other.join()
    assert seen == [1]


def test_rows_refer_to_rows_that_exist(engine: Engine) -> None:
    with pytest.raises(IntegrityError), write(engine) as session:
        session.add(Job(model_id="mdl-none", target="local", budget_trials=1))


def test_who_has_seen_an_event_has_seen_all_before_it(engine: Engine) -> None:
    """An id is given when a row is inserted and seen when it is committed: two writers must not overtake each other."""
    seen: list[int] = []

    def look() -> None:
        with read(engine) as session:
            seen.extend(event.id or 0 for event in events.since(session, seen[-1] if seen else 0))

    def emit() -> None:
        with write(engine) as session:
            events.emit(session, "message", {})

    overtaking = threading.Thread(target=emit)
    with write(engine) as session:
        events.emit(session, "message", {})
        session.flush()
        overtaking.start()
        overtaking.join(0.3)
        look()
    overtaking.join()
    look()
    with read(engine) as session:
        assert seen == [event.id for event in events.since(session, 0)]
    assert len(seen) == 2


def test_what_several_writers_add_at_once_is_there_once(engine: Engine, settings: Settings) -> None:
    wish = JobIn(model="minilm-l6", target="linux-arm64")
    source = submit.source_of(settings, engine, wish)
    submitted = at_once(engine, lambda session, _: submit.submit(session, settings, wish, source).model_id)
    assert len(set(submitted)) == 1
    assert len(set(at_once(engine, lambda session, _: records.put_workload(session, make_workload()).id))) == 1
    added = at_once(engine, lambda session, _: records.add(session, make_record("a", 1.0)))
    assert sorted(map(bool, added)) == [False, False, False, True]
    with write(engine) as session:
        job_id = add_job(session).id
    row = {"job_id": job_id, "path": "art-1.tar", "size_bytes": 1, "sha256": "0"}
    at_once(engine, lambda session, _: artifacts.put(session, Artifact(id="art-1", **row)))
    leaders = at_once(engine, lambda session, number: leases.acquire(session, "coordinator", f"host-{number}", 60))
    assert sorted(map(bool, leaders)) == [False, False, False, True]


def test_time_is_the_databases_and_rows_carry_it(engine: Engine) -> None:
    with write(engine) as session:
        before = clock.now(session)
        job = add_job(session)
        after = clock.now(session)
        assert before <= job.created_at <= after
    assert abs(before - utcnow()) < timedelta(minutes=5)
    with read(engine) as session:
        assert jobs.get(session, job.id).created_at == job.created_at


def test_numbers_beyond_32_bits_are_kept(engine: Engine) -> None:
    with write(engine) as session:
        workload = records.put_workload(session, make_workload(weight_bytes=2**40))
        job = add_job(session)
        row = Artifact(id="art-1", job_id=job.id, path="art-1.tar", size_bytes=3 * 2**30, sha256="0")
        artifacts.put(session, row)
        events.emit(session, "message", {})
        session.flush()
        late = make_record("a", 1.0, id=2**40)
        assert records.add(session, late)
    with read(engine) as session:
        assert session.get_one(type(workload), workload.id).weight_bytes == 2**40
        assert artifacts.get(session, "art-1").size_bytes == 3 * 2**30
        assert records.best(session, workload.id, "llvm-test")[0].id == 2**40


@pytest.mark.parametrize("text", ["a\x00b", "a\ud800b"])
def test_text_that_no_database_takes_loses_what_it_can_not_keep(engine: Engine, text: str) -> None:
    with write(engine) as session:
        job_id = add_job(session, message=text).id
        session.add(Device(key="local", facts={"cpu": text}))
        events.emit(session, "message", {"message": text}, job_id)
    with read(engine) as session:
        assert jobs.get(session, job_id).message == "a\ufffdb"
        assert session.get_one(Device, "local").facts == {"cpu": "a\ufffdb"}
        assert events.since(session, 0)[0].data == {"message": "a\ufffdb"}
        assert jobs.find(session, model=text) == Found([], 0)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_none_becomes_nothing(engine: Engine, number: float) -> None:
    with write(engine) as session:
        job_id = add_job(session, latency_ms=number).id
        session.add(Device(key="local", facts={"peak": {"gflops": number}, "all": [1.0, number]}))
    with read(engine) as session:
        assert jobs.get(session, job_id).latency_ms is None
        assert session.get_one(Device, "local").facts == {"peak": {"gflops": None}, "all": [1.0, None]}


def test_a_model_submitted_again_is_brought_up_to_date(engine: Engine) -> None:
    with write(engine) as session:
        first = models_.put(session, "bert", "encoder", source="preset", location="bert", weights="random")
    with write(engine) as session:
        second = models_.put(session, "bert", "encoder", weights="pretrained")
    assert (second.id, second.weights) == (first.id, "pretrained")
