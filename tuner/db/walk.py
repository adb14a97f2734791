"""All records, read for as long as their reader takes: in many short transactions, none of which waits for anybody."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Engine
from sqlmodel import col, select

from tuner.db import records
from tuner.db.engine import read
from tuner.db.models import Record, Workload

_PAGE_ROWS = 100


def walk(
    engine: Engine,
    workload_id: str | None = None,
    family: str | None = None,
    job_id: str | None = None,
    failed: bool = False,
) -> Iterator[tuple[Record, Workload]]:
    """Records with their workload, all of a workload in a row, fastest first; failed ones if asked for, never seeds.

    Which records a workload has is read when it is its turn; one that goes before it is read itself is left out.
    """
    wanted = records.matching(workload_id, family, job_id)
    with read(engine) as session:
        workload_ids = session.exec(select(Record.workload_id).where(*wanted).distinct()).all()
    for each in sorted(workload_ids):
        yield from _of_workload(engine, each, family, job_id, failed)


def _of_workload(
    engine: Engine, workload_id: str, family: str | None, job_id: str | None, failed: bool
) -> Iterator[tuple[Record, Workload]]:
    with read(engine) as session:
        workload = session.get_one(Workload, workload_id)
        query = select(Record.id).where(
            *records.matching(workload_id, family, job_id, None if failed else False),
            records.tried(),
            records.counts(),
        )
        order = (col(Record.mean_sec).is_(None), col(Record.mean_sec), col(Record.id))
        ids = session.exec(query.order_by(*order)).all()
    for start in range(0, len(ids), _PAGE_ROWS):
        page = ids[start : start + _PAGE_ROWS]
        with read(engine) as session:
            rows = {row.id: row for row in session.exec(select(Record).where(col(Record.id).in_(page)))}
        yield from ((rows[number], workload) for number in page if number in rows)
