"""Lists are read page by page: by cursors nothing is given twice and nothing left out, on any database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import Session

from tests.support.rows import add_job, make_record, make_workload, utcnow
from tuner.db import artifacts, benchmarks, jobs, models_, paging, records
from tuner.db.engine import read, write
from tuner.db.models import Artifact, Benchmark
from tuner.db.paging import Found, Window
from tuner.errors import InvalidInput

pytestmark = pytest.mark.both_databases

Find = Callable[[Session, Window], Found[Any]]
ROWS = 7
THEN = utcnow() - timedelta(days=1)
FIGURES = {"p10_ms": 1.0, "p90_ms": 3.0, "n": 9, "threads": 2, "machine": "here"}

LISTS: dict[str, Find] = {
    "jobs": lambda session, window: jobs.find(session, window=window),
    "jobs of a model": lambda session, window: jobs.find(session, model="minilm-l6", window=window),
    "jobs in states": lambda session, window: jobs.find(session, states=["failed", "succeeded"], window=window),
    "records": lambda session, window: records.find(session, window=window),
    "records of a family": lambda session, window: records.find(session, family="llvm-test", window=window),
    "failed records": lambda session, window: records.find(session, failed=True, window=window),
    "artifacts": lambda session, window: artifacts.find(session, window=window),
    "benchmarks": lambda session, window: benchmarks.find(session, window=window),
    "benchmarks of a job": lambda session, window: benchmarks.find(session, "job-1", window=window),
    "models": models_.find,
}


def add_rows(session: Session, start: int) -> None:
    """Rows of all lists: some of the same moment, some as fast as others, some failed."""
    records.put_workload(session, make_workload())
    for number in range(start, start + ROWS):
        stamp = THEN + timedelta(seconds=number // 2)
        job = add_job(session, "succeeded", f"job-{number}", created_at=stamp) if number else _first_job(session)
        records.add(session, make_record(f"{number:03}", None if number % 3 == 0 else 1.0 + number // 4))
        row = {"id": f"art-{number}", "path": f"art-{number}.tar", "size_bytes": 1, "sha256": "0"}
        artifacts.put(session, Artifact(job_id=job.id, created_at=stamp, **row))
        of_job = {"job_id": "job-1", "variant": f"torch-{number}", "median_ms": 1.0 + number // 2, "created_at": stamp}
        session.add(Benchmark(**of_job, **FIGURES))
    session.flush()


def _first_job(session: Session) -> Any:
    for number in range(ROWS):
        add_job(session, "failed", "minilm-l6", created_at=THEN + timedelta(seconds=number // 2))
    return add_job(session, "succeeded", "minilm-l6", id="job-1", created_at=THEN)


@pytest.fixture
def store(engine: Engine) -> Engine:
    with write(engine) as session:
        add_rows(session, 0)
    return engine


def walk(engine: Engine, find: Find, limit: int, between: Callable[[], None] = lambda: None) -> Iterator[Found[Any]]:
    """Page after page by cursor."""
    cursor: str | None = None
    while True:
        with read(engine) as session:
            page = find(session, Window(limit, cursor=cursor))
        yield page
        if page.cursor is None:
            return
        cursor = page.cursor
        between()


def keys(rows: list[Any]) -> list[Any]:
    return [row.id for row in rows]


@pytest.mark.parametrize("name", LISTS)
def test_pages_by_cursor_are_the_whole_list_in_its_order(store: Engine, name: str) -> None:
    with read(store) as session:
        whole = LISTS[name](session, Window(1000))
    assert whole.cursor is None
    assert len(whole.rows) == whole.total >= 3
    for limit in (1, 3, 100):
        pages = list(walk(store, LISTS[name], limit))
        assert keys([row for page in pages for row in page.rows]) == keys(whole.rows)
        assert {page.total for page in pages} == {whole.total}
        assert all(len(page.rows) == limit for page in pages[:-1])
        assert pages[-1].rows


@pytest.mark.parametrize("name", LISTS)
def test_pages_by_offset_are_the_same(store: Engine, name: str) -> None:
    with read(store) as session:
        whole = LISTS[name](session, Window(1000))
        for offset in range(whole.total + 2):
            page = LISTS[name](session, Window(2, offset))
            assert keys(page.rows) == keys(whole.rows[offset : offset + 2])
            assert (page.cursor is None) == (offset + 2 >= whole.total)


@pytest.mark.parametrize("name", ["jobs", "artifacts", "benchmarks"])
def test_a_list_that_grows_at_its_head_repeats_and_skips_nothing(store: Engine, name: str) -> None:
    with read(store) as session:
        before = keys(LISTS[name](session, Window(1000)).rows)
    grown = iter([10, 20, 30])

    def grow() -> None:
        number = next(grown, None)
        if number is not None:
            with write(store) as session:
                add_rows(session, number)

    seen = keys([row for page in walk(store, LISTS[name], 2, grow) for row in page.rows])
    assert seen == before


def test_records_are_listed_fastest_first_and_those_without_a_time_last(store: Engine) -> None:
    with read(store) as session:
        found = records.find(session, window=Window(1000)).rows
    times = [row.mean_sec for row in found]
    assert times == sorted(t for t in times if t is not None) + [None] * times.count(None)


def test_a_cursor_of_nothing_is_refused(store: Engine) -> None:
    for cursor in ("nonsense", "W10=", "WzldCg==", "Wy0xLCAieCJd", "WzAsIDEsIDIsIDNd", "WzAsIFtdLCBbXV0="):
        for find in LISTS.values():
            with read(store) as session, pytest.raises(InvalidInput, match="none of this list's"):
                find(session, Window(5, cursor=cursor))


def test_a_cursor_of_another_list_is_refused(store: Engine) -> None:
    with read(store) as session:
        cursor = models_.find(session, Window(2)).cursor
        with pytest.raises(InvalidInput, match="none of this list's"):
            jobs.find(session, window=Window(2, cursor=cursor))


def test_traces_are_not_read_for_a_list(store: Engine) -> None:
    with read(store) as session:
        (row, *_) = records.find(session).rows
    assert "trace" not in row.__dict__


@pytest.mark.parametrize("name", LISTS)
def test_no_more_is_counted_than_a_disk_gives_at_once_and_no_row_is_left_out(
    store: Engine, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(window: Window) -> tuple[int, list[Any]]:
        with read(store) as session:
            found = LISTS[name](session, window)
            return found.total, [row.id for row in found.rows]

    windows = [Window(limit=2, offset=offset) for offset in range(4)]
    known = [rows(window)[1] for window in windows]
    total, whole = rows(Window())
    monkeypatch.setattr(paging, "MOST_COUNTED", 3)
    assert [rows(window)[1] for window in windows] == known
    assert rows(Window()) == (min(total, 3), whole)
