"""Records: every candidate ever measured, looked up by workload and target family."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import islice

from sqlalchemy import ColumnElement, case, not_, or_
from sqlalchemy.orm import defer
from sqlmodel import Session, col, select

from tuner.db.models import Record, Round, Workload
from tuner.db.paging import FIRST, Found, Part, Window, page

POISON = ("crash", "timeout")  # error classes of candidates that ended a device's session: never sent again


def known_candidates(session: Session, workload_id: str, family: str, job_id: str | None = None) -> set[str]:
    """Candidates (structural hashes) of this workload that were tried on this family, failed ones too; seeds were not.

    With ``job_id`` only those that this job tried, and those that are poison.
    """
    query = select(Record.candidate).where(Record.workload_id == workload_id, Record.target_family == family, _tried())
    if job_id is not None:
        query = query.where((col(Record.job_id) == job_id) | col(Record.error_class).in_(POISON))
    return set(session.exec(query))


def best(session: Session, workload_id: str, family: str, k: int = 1, job_id: str | None = None) -> list[Record]:
    """The ``k`` fastest records of this workload on this family, fastest first; failed ones never.

    With ``job_id`` only those that this job measured.
    """
    query = select(Record).where(Record.workload_id == workload_id, *_good(family))
    if job_id is not None:
        query = query.where(Record.job_id == job_id)
    return list(session.exec(query.order_by(col(Record.mean_sec), col(Record.id)).limit(k)))


def seeds(session: Session, workload_id: str, family: str) -> list[Record]:
    """Candidates that come from elsewhere and are still to be measured here, in the order in which they came."""
    query = select(Record).where(Record.workload_id == workload_id, Record.target_family == family, not_(_tried()))
    return list(session.exec(query.order_by(col(Record.id))))


def related(session: Session, workload: Workload, family: str, k: int) -> list[Workload]:
    """The ``k`` other workloads with good records on this family that are most like this one: with constants if it has
    some, of its name before others, of as much arithmetic before more or less."""
    flops, own = col(Workload.flops), max(workload.flops, 1.0)
    query = (
        select(Workload.id)
        .where(Workload.id != workload.id, flops > 0)
        .where((col(Workload.weight_bytes) > 0) == (workload.weight_bytes > 0))
        .where(select(Record.id).where(Record.workload_id == Workload.id, *_good(family)).exists())
        .order_by(
            col(Workload.name) != workload.name,
            case((flops > own, flops / own), else_=own / flops),
            col(Workload.id),
        )
    )
    found = (session.get_one(Workload, workload_id) for workload_id in session.exec(query).all())
    return list(islice((one for one in found if one.tir), k))  # a TIR is long: those of the k are read, and no other


def add(session: Session, record: Record) -> bool:
    """Store a record, in place of a seed of the same candidate once that is measured; False when its (workload, family,
    candidate) is known already. Call within ``write``."""
    known = get(session, record.workload_id, record.target_family, record.candidate)
    if known is not None:
        if not _is_seed(known) or _is_seed(record):
            return False
        session.delete(known)
        session.flush()
    session.add(record)
    session.flush()
    return True


def get(session: Session, workload_id: str, family: str, candidate: str) -> Record | None:
    """The record of one candidate, None when it was never tried."""
    query = select(Record).where(
        Record.workload_id == workload_id, Record.target_family == family, Record.candidate == candidate
    )
    return session.exec(query).first()


def replace(session: Session, record: Record) -> None:
    """Store a record in place of what is known of its candidate. Call within ``write``."""
    known = get(session, record.workload_id, record.target_family, record.candidate)
    if known is not None:
        session.delete(known)
        session.flush()
    session.add(record)


def judge(session: Session, workload_id: str, family: str, candidate: str, problem: str) -> None:
    """Keep what a check of its outputs found: nothing, or a ``problem``, by which it counts as failed. Call within
    ``write``."""
    row = get(session, workload_id, family, candidate)
    if row is None:
        return
    if problem:
        row.error_class, row.error, row.mean_sec = "wrong", problem, None
    else:
        row.checked = True
    session.add(row)


def tally(session: Session, row: Round) -> list[datetime]:
    """Count a round's records into its row, however often it was run; returns when they were written."""
    query = select(Record.mean_sec, Record.created_at).where(Record.round_id == row.id).order_by(col(Record.id))
    found = session.exec(query).all()
    good = [mean_sec for mean_sec, _ in found if mean_sec is not None]
    row.measured, row.failed = len(found), len(found) - len(good)
    row.best_us = min(good) * 1e6 if good else None
    return [created_at for _, created_at in found]


def put_workload(session: Session, workload: Workload) -> Workload:
    """Add the workload, or return the row that is there; a row that came without its TIR gets it."""
    known = session.get(Workload, workload.id)
    if known is None:
        session.add(workload)
        session.flush()
        return workload
    if workload.tir and not known.tir:
        known.tir = workload.tir
    return known


def find(
    session: Session,
    workload_id: str | None = None,
    family: str | None = None,
    job_id: str | None = None,
    failed: bool | None = None,
    window: Window = FIRST,
) -> Found[Record]:
    """Records without their traces, fastest first and those without a time last; ``failed`` None: both kinds."""
    query = select(Record).where(*_filter(workload_id, family, job_id, failed))
    query = query.options(defer(Record.trace, raiseload=True))  # type: ignore[arg-type]
    time, number = col(Record.mean_sec), col(Record.id)
    timed = Part(query.where(time.is_not(None)), (time, number))
    untimed = Part(query.where(time.is_(None)), (number,))
    return page(session, [untimed] if failed else [timed, untimed], window)


def by_workload(
    session: Session,
    workload_id: str | None = None,
    family: str | None = None,
    job_id: str | None = None,
    failed: bool = False,
) -> Iterator[tuple[Record, Workload]]:
    """Records with their workload, all of a workload in a row, fastest first; failed ones if asked for, never seeds."""
    query = (
        select(Record, Workload)
        .join(Workload, col(Workload.id) == col(Record.workload_id))
        .where(*_filter(workload_id, family, job_id, None if failed else False), _tried())
        .order_by(col(Record.workload_id), col(Record.mean_sec).is_(None), col(Record.mean_sec), col(Record.id))
        .execution_options(yield_per=200)
    )
    yield from session.exec(query)


def _filter(
    workload_id: str | None, family: str | None, job_id: str | None, failed: bool | None
) -> list[ColumnElement[bool]]:
    wanted = [(Record.workload_id, workload_id), (Record.target_family, family), (Record.job_id, job_id)]
    conditions = [col(column) == value for column, value in wanted if value is not None]
    if failed is not None:
        conditions.append(col(Record.error_class) != "" if failed else col(Record.error_class) == "")
    return conditions


def _good(family: str) -> list[ColumnElement[bool]]:
    """Is it a time on this family?"""
    return [
        col(Record.target_family) == family,
        col(Record.error_class) == "",
        col(Record.mean_sec).is_not(None),
    ]


def _tried() -> ColumnElement[bool]:
    """Has it a time or an error? A seed has neither."""
    return or_(col(Record.mean_sec).is_not(None), col(Record.error_class) != "")


def _is_seed(record: Record) -> bool:
    return record.mean_sec is None and not record.error_class
