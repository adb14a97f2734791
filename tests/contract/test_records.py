"""What any store of records must do."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError
from sqlmodel import select

from tests.support.rows import add_job, make_record, make_workload
from tuner.db import bulk, clock, jobs, known, records
from tuner.db.engine import read, write
from tuner.db.models import JobWorkload, Record, Workload
from tuner.db.paging import Window

pytestmark = pytest.mark.both_databases

WORKLOAD = make_workload().id
FAMILY = "llvm-test"


@pytest.fixture
def store(engine: Engine) -> Engine:
    """A store that knows workloads 1 and 2 and has no records."""
    with write(engine) as session:
        records.put_workload(session, make_workload(1))
        records.put_workload(session, make_workload(2))
    return engine


def _add(store: Engine, *rows: Record) -> list[bool]:
    with write(store) as session:
        return [records.add(session, row) for row in rows]


def test_a_candidate_is_stored_once_per_workload_and_family(store: Engine) -> None:
    assert _add(store, make_record("a", 1.0), make_record("a", 0.5)) == [True, False]
    assert _add(store, make_record("a", 2.0)) == [False]
    assert _add(store, make_record("a", 1.0, workload=2), make_record("a", 1.0, family="other")) == [True, True]
    with read(store) as session:
        assert [record.mean_sec for record in records.best(session, WORKLOAD, FAMILY, 9)] == [1.0]


def test_a_refused_duplicate_leaves_the_transaction_usable(store: Engine) -> None:
    assert _add(store, make_record("a", 1.0), make_record("a", 1.0), make_record("b", 2.0)) == [True, False, True]
    with read(store) as session:
        assert known.candidates(session, WORKLOAD, FAMILY) == {"a", "b"}


def test_known_candidates_include_failed_ones_and_no_other_target(store: Engine) -> None:
    _add(store, make_record("good", 1.0), make_record("bad", None), make_record("foreign", 1.0, family="other"))
    with read(store) as session:
        assert known.candidates(session, WORKLOAD, FAMILY) == {"good", "bad"}
        assert known.candidates(session, make_workload(2).id, FAMILY) == set()


def test_to_a_cold_job_what_others_tried_is_new_unless_it_ended_a_session(store: Engine) -> None:
    classes = ("build", "build_timeout", "run", "crash", "timeout", "wrong")
    _add(store, *(make_record(name, None, error_class=name, job_id="job-a") for name in classes))
    with read(store) as session:
        assert known.candidates(session, WORKLOAD, FAMILY, "job-a") == set(classes)
        assert known.candidates(session, WORKLOAD, FAMILY, "job-b") == {"crash", "timeout"}


def test_the_best_are_the_fastest_of_this_target_and_never_failed(store: Engine) -> None:
    _add(
        store,
        make_record("slow", 3.0),
        make_record("fast", 1.0),
        make_record("middle", 2.0),
        make_record("bad", None),
        make_record("rejected", 0.1, error_class="wrong"),
        make_record("foreign", 0.5, family="other"),
    )
    with read(store) as session:
        assert [record.candidate for record in records.best(session, WORKLOAD, FAMILY)] == ["fast"]
        assert [record.candidate for record in records.best(session, WORKLOAD, FAMILY, 2)] == ["fast", "middle"]
        assert [record.candidate for record in records.best(session, WORKLOAD, FAMILY, 9)] == ["fast", "middle", "slow"]


def test_records_are_found_by_any_key_fastest_first(store: Engine) -> None:
    _add(store, make_record("a", 2.0, job_id="job-a"), make_record("b", 1.0), make_record("c", None, job_id="job-a"))
    with read(store) as session:
        found = records.find(session, workload_id=WORKLOAD)
        assert ([record.candidate for record in found.rows], found.total) == (["b", "a", "c"], 3)
        assert [record.candidate for record in records.find(session, job_id="job-a", failed=False).rows] == ["a"]
        assert [record.candidate for record in records.find(session, failed=True).rows] == ["c"]
        page = records.find(session, window=Window(limit=1, offset=1))
        assert ([record.candidate for record in page.rows], page.total) == (["a"], 3)


def test_a_record_of_an_unknown_workload_is_an_error(store: Engine) -> None:
    with pytest.raises(IntegrityError):
        _add(store, make_record("a", 1.0, workload=99))


def test_a_workload_that_came_without_its_tir_gets_it_later(store: Engine) -> None:
    with write(store) as session:
        records.put_workload(session, make_workload(3, tir=""))
    with write(store) as session:
        records.put_workload(session, make_workload(3, tir="{}"))
    with write(store) as session:
        assert records.put_workload(session, make_workload(3, tir="")).tir == "{}"


def test_writers_at_the_same_time_store_each_candidate_once(store: Engine) -> None:
    added: list[bool] = []

    def work() -> None:
        for number in range(10):
            added.extend(_add(store, make_record(f"c{number}", 1.0)))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (added.count(True), added.count(False)) == (10, 20)


def test_the_arithmetic_of_a_job_is_that_of_its_launches(store: Engine) -> None:
    with write(store) as session:
        tuned, fresh = add_job(session), add_job(session)
        for number, weight in ((1, 3), (2, 1)):
            session.add(JobWorkload(job_id=tuned.id, workload_id=make_workload(number).id, weight=weight))
    with read(store) as session:
        assert jobs.flops(session, [tuned.id, fresh.id]) == {tuned.id: 4 * 1024.0}
        assert jobs.flops(session, []) == {}


def test_related_workloads_are_of_the_same_name_first_then_of_like_arithmetic(store: Engine) -> None:
    wanted = make_workload(1, flops=1000.0, weight_bytes=8)
    others = {
        10: {"flops": 4000.0, "weight_bytes": 8},
        11: {"flops": 500.0, "weight_bytes": 8},
        12: {"flops": 1000.0, "weight_bytes": 8, "name": "conv"},
        13: {"flops": 1000.0},  # no constants
        14: {"flops": 1000.0, "weight_bytes": 8},  # failed only
        15: {"flops": 1000.0, "weight_bytes": 8},  # on another target only
        16: {"flops": 1000.0, "weight_bytes": 8, "tir": ""},
    }
    with write(store) as session:
        for number, fields in others.items():
            records.put_workload(session, make_workload(number, **fields))
    _add(store, make_record("own", 1.0), make_record("failed", None, workload=14))
    _add(store, make_record("foreign", 1.0, workload=15, family="other"))
    _add(store, *(make_record("good", 1.0, workload=number) for number in (10, 11, 12, 13, 16)))
    with read(store) as session:
        found = [row.id for row in records.related(session, wanted, FAMILY, 9)]
        assert found == [make_workload(number).id for number in (11, 10, 12)]
        assert len(records.related(session, wanted, FAMILY, 2)) == 2


def test_a_failure_never_takes_a_times_place_and_a_time_always_a_failures(store: Engine) -> None:
    with write(store) as session:
        records.append(session, make_record("a", 2.0))
        records.append(session, make_record("a", None, error_class="build_timeout"))
        (best,) = records.best(session, WORKLOAD, FAMILY, 9)
        assert (best.mean_sec, best.attempt) == (2.0, 1)
        records.append(session, make_record("a", 1.0))
        (best,) = records.best(session, WORKLOAD, FAMILY, 9)
        assert (best.mean_sec, best.attempt) == (1.0, 3)
        found = records.find(session, workload_id=WORKLOAD).rows
        assert [(row.attempt, row.superseded) for row in sorted(found, key=lambda row: row.attempt)] == [
            (1, True),
            (2, True),
            (3, False),
        ]


@pytest.mark.parametrize("error_class", records.TROUBLE)
def test_what_may_have_been_the_machines_trouble_is_tried_again_another_day(store: Engine, error_class: str) -> None:
    for attempt in range(1, records.MAX_ATTEMPTS + 1):
        assert _add(store, make_record("a", None, error_class=error_class)) == [True]
        with write(store) as session:
            assert known.candidates(session, WORKLOAD, FAMILY) == {"a"}
            row = records.get(session, WORKLOAD, FAMILY, "a")
            assert row is not None
            assert row.attempt == attempt
            row.created_at = clock.now(session) - records.RETRY_AFTER * 2
        with read(store) as session:
            is_open = known.candidates(session, WORKLOAD, FAMILY) == set()
        assert is_open == (attempt < records.MAX_ATTEMPTS)
    assert _add(store, make_record("a", None, error_class=error_class)) == [False]


@pytest.mark.parametrize("error_class", ["build", "run", "wrong"])
def test_what_is_the_candidates_own_fault_is_never_tried_again(store: Engine, error_class: str) -> None:
    _add(store, make_record("a", None, error_class=error_class))
    with write(store) as session:
        row = records.get(session, WORKLOAD, FAMILY, "a")
        assert row is not None
        row.created_at = clock.now(session) - records.RETRY_AFTER * 2
    with read(store) as session:
        assert known.candidates(session, WORKLOAD, FAMILY) == {"a"}


def test_what_is_new_since_somebody_looked_is_read_alone(store: Engine) -> None:
    with read(store) as session:
        assert known.last_id(session) == 0
    _add(store, make_record("a", 1.0), make_record("b", None, error_class="build"))
    with read(store) as session:
        seen = known.last_id(session)
    _add(store, make_record("c", 2.0), make_record("d", 1.0, workload=2))
    with read(store) as session:
        assert known.candidates(session, WORKLOAD, FAMILY, after=seen) == {"c"}
        assert known.candidates(session, WORKLOAD, FAMILY, after=known.last_id(session)) == set()


def test_records_of_others_are_told_from_a_jobs_own(store: Engine) -> None:
    with write(store) as session:
        job = add_job(session, "tuning", target_family=FAMILY)
        records.put_workload(session, make_workload())
        session.add(JobWorkload(job_id=job.id, workload_id=WORKLOAD))
    _add(store, make_record("a", 1.0), make_record("b", None, error_class="build", source="imported"))
    with read(store) as session:
        assert not known.holds_imported(session, job), "what failed is never used"
    _add(store, make_record("c", 2.0, source="imported"))
    with read(store) as session:
        assert known.holds_imported(session, job)
        assert not known.holds_imported(session, job.model_copy(update={"target_family": "another"}))


def test_a_cold_job_proposes_nothing_twice_that_it_tried_itself(store: Engine) -> None:
    with write(store) as session:
        records.append(session, make_record("a", 1.0, job_id="job-a"))
        records.append(session, make_record("a", None, error_class="build_timeout", job_id="job-b"))
        assert known.candidates(session, WORKLOAD, FAMILY, "job-b") == {"a"}
        assert [row.job_id for row in records.best(session, WORKLOAD, FAMILY, 9)] == ["job-a"]


def test_failed_candidates_can_be_opened_again_and_their_history_stays(store: Engine) -> None:
    _add(store, make_record("bad", None, error_class="build"), make_record("good", 1.0))
    assert bulk.reopen(store, WORKLOAD, None, None) == 1
    assert bulk.reopen(store, WORKLOAD, None, None) == 0
    with read(store) as session:
        assert known.candidates(session, WORKLOAD, FAMILY) == {"good"}
    assert _add(store, make_record("bad", 0.5)) == [True]
    with read(store) as session:
        assert [row.candidate for row in records.best(session, WORKLOAD, FAMILY, 9)] == ["bad", "good"]
        assert [row.attempt for row in records.find(session, workload_id=WORKLOAD).rows if row.candidate == "bad"] == [
            2,
            1,
        ]


def test_records_are_deleted_by_what_they_are_of(store: Engine) -> None:
    _add(store, make_record("a", 1.0), make_record("b", None), make_record("c", 1.0, family="other"))
    assert bulk.delete_all(store, WORKLOAD, FAMILY, None, failed=True) == 1
    assert bulk.delete_all(store, None, "other", None, failed=False) == 1
    with read(store) as session:
        assert [row.candidate for row in records.find(session).rows] == ["a"]


def test_others_write_while_many_records_are_changed(store: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "ROWS", 2)
    seen: list[int] = []

    def look(_seconds: float) -> None:
        with write(store) as session:
            seen.append(len(session.exec(select(Record.id).where(Record.job_id == "job-a")).all()))

    monkeypatch.setattr(bulk, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=look))
    _add(store, *(make_record(f"c{number}", 1.0, job_id="job-a") for number in range(5)))
    assert bulk.leave_job(store, "job-a") == 5
    assert seen == [3, 1]
    assert bulk.delete_all(store, WORKLOAD, None, None, failed=False) == 5
    with read(store) as session:
        assert records.find(session).total == 0


def test_what_a_log_told_of_a_workload_gives_way_to_the_workload_itself(store: Engine) -> None:
    lie = {"tir": "[]", "summary": "something else", "flops": 1.0, "weight_bytes": 7}
    with write(store) as session:
        session.get_one(Workload, WORKLOAD).sqlmodel_update(lie)
    with write(store) as session:
        records.put_own_workload(session, make_workload())
    with read(store) as session:
        found = session.get_one(Workload, WORKLOAD)
    truth = make_workload()
    assert (found.tir, found.summary, found.flops) == (truth.tir, truth.summary, truth.flops)
    assert found.weight_bytes == 0


def test_many_records_are_added_as_each_would_be(store: Engine) -> None:
    seeds = [make_record("seed", None, error_class=""), make_record("other seed", None, error_class="")]
    _add(store, make_record("known", 1.0), *seeds)
    rows = [
        make_record("known", 0.1),
        make_record("seed", 0.5),
        make_record("other seed", None, error_class=""),
        make_record("new", 2.0),
        make_record("new", 3.0),
        make_record("known", 4.0, family="other"),
        make_record("known", 5.0, workload=2),
    ]
    with write(store) as session:
        assert records.add_new(session, [row.model_dump(exclude_none=True) for row in rows]) == 4
    with read(store) as session:
        assert [row.mean_sec for row in records.best(session, WORKLOAD, FAMILY, 9)] == [0.5, 1.0, 2.0]
        assert [row.candidate for row in records.seeds(session, WORKLOAD, FAMILY)] == ["other seed"]
