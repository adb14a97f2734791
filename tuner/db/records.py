"""Records: every candidate ever measured, looked up by workload and target family."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import islice
from statistics import fmean
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, bindparam, case, delete, false, insert, not_, or_, update
from sqlalchemy import select as sql_select
from sqlalchemy.orm import defer
from sqlmodel import Session, col, select

from tuner.db.models import Record, Round, Workload
from tuner.db.paging import FIRST, Found, Part, Window, page

POISON = ("crash", "timeout")  # error classes of candidates that ended a device's session
TROUBLE = (*POISON, "build_timeout")  # error classes that a machine in trouble causes as well
MAX_ATTEMPTS = 3  # at a candidate whose failures may be the machine's, on different days; then it is to blame
RETRY_AFTER = timedelta(hours=20)


class Attempt(NamedTuple):
    """What decides whether a candidate may be tried once more, of one attempt at it."""

    id: int
    attempt: int
    superseded: bool
    mean_sec: float | None
    error_class: str


# Built once. The order is that of the index by candidate: without it SQLite reads all of a workload's in another one.
_OF_CANDIDATE = (
    sql_select(*(getattr(Record, name) for name in Attempt._fields))
    .where(
        col(Record.workload_id) == bindparam("workload"),
        col(Record.target_family) == bindparam("family"),
        col(Record.candidate) == bindparam("id"),
    )
    .order_by(col(Record.attempt))
)
_WITHOUT_TRACE = defer(Record.trace, raiseload=True)  # type: ignore[arg-type]


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
    query = select(Record).where(*_of(workload_id, family), not_(tried()))
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
    """Store a measurement: of an unknown candidate, of a seed, or once more of one that may be tried again.

    False when its (workload, family, candidate) is known and not to be tried again. Call within ``write``.
    """
    attempts = _attempts(session, record)
    known = _counting(attempts)
    if known is not None and not _may_follow(known, record):
        return False
    _append(session, record, attempts)
    return True


def append(session: Session, record: Record) -> None:
    """Store another attempt at a candidate, whatever is known of it; a failure never takes a time's place.

    Call within ``write``.
    """
    _append(session, record, _attempts(session, record))


def add_new(session: Session, rows: Sequence[dict[str, Any]]) -> int:
    """Store those records that others measured and that are not known, as ``add`` does, in few statements; how many
    were. Rows are given column by column, without what is None. Call within ``write``."""
    fresh: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in rows:
        fresh.setdefault((row["workload_id"], row["target_family"], row["candidate"]), {**row, "attempt": 1})
    for workload_id, family in {key[:2] for key in fresh}:
        candidates = [key[2] for key in fresh if key[:2] == (workload_id, family)]
        known = select(Record).where(
            Record.workload_id == workload_id, Record.target_family == family, col(Record.candidate).in_(candidates)
        )
        found: list[Record] = list(session.scalars(known.options(_WITHOUT_TRACE)))
        for one in found:
            key = (workload_id, family, one.candidate)
            row = fresh.get(key, {})
            row["attempt"] = max(row.get("attempt", 1), one.attempt + 1)
            if _is_seed(one) and (row.get("mean_sec") or row.get("error_class")):
                session.delete(one)
            elif not one.superseded:
                fresh.pop(key, None)
    session.flush()
    if fresh:
        session.execute(insert(Record), list(fresh.values()))
    return len(fresh)


def get(session: Session, workload_id: str, family: str, candidate: str) -> Record | None:
    """The attempt at a candidate that counts, None when it was never tried or is open again."""
    return session.exec(select(Record).where(*_of(workload_id, family), Record.candidate == candidate)).first()


def judge(session: Session, workload_id: str, family: str, candidate: str, error_class: str, problem: str) -> None:
    """Keep what a check of its outputs found: a ``problem`` by which it counts as failed, or two empty texts.

    Call within ``write``.
    """
    row = get(session, workload_id, family, candidate)
    if row is None:
        return
    if problem:
        row.error_class, row.error, row.mean_sec = error_class, problem, None
    else:
        row.checked = True
    session.add(row)


def tally(session: Session, row: Round) -> list[datetime]:
    """Count a round's records into its row, however often it was run; returns when they were written."""
    query = select(Record.mean_sec, Record.canary_ratio, Record.created_at).where(Record.round_id == row.id)
    found = session.exec(query.order_by(col(Record.id))).all()
    good = [mean_sec for mean_sec, _, _ in found if mean_sec is not None]
    ratios = [ratio for _, ratio, _ in found if ratio is not None]
    row.measured, row.failed = len(found), len(found) - len(good)
    row.best_us = min(good) * 1e6 if good else None
    row.canary_ratio = fmean(ratios) if ratios else None
    return [created_at for _, _, created_at in found]


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


def put_own_workload(session: Session, workload: Workload) -> None:
    """Add a workload that was taken from a module here, or mend its row: what a log told of it was only believed."""
    known = put_workload(session, workload)
    for name in ("summary", "tir", "flops", "weight_bytes"):
        setattr(known, name, getattr(workload, name))


def find(
    session: Session,
    workload_id: str | None = None,
    family: str | None = None,
    job_id: str | None = None,
    failed: bool | None = None,
    window: Window = FIRST,
) -> Found[Record]:
    """Records without their traces, fastest first and those without a time last; ``failed`` None: both kinds."""
    query = select(Record).where(*matching(workload_id, family, job_id, failed))
    query = query.options(_WITHOUT_TRACE)
    time, number = col(Record.mean_sec), col(Record.id)
    few = workload_id is not None
    timed = Part(query.where(time.is_not(None)), (time, number), few=few)
    untimed = Part(query.where(time.is_(None)), (number,), few=few)
    return page(session, [untimed] if failed else [timed, untimed], window)


def matching(
    workload_id: str | None = None, family: str | None = None, job_id: str | None = None, failed: bool | None = None
) -> list[ColumnElement[bool]]:
    """Conditions on a record; None does not matter."""
    wanted = [(Record.workload_id, workload_id), (Record.target_family, family), (Record.job_id, job_id)]
    conditions = [col(column) == value for column, value in wanted if value is not None]
    if failed is not None:
        conditions.append(col(Record.error_class) != "" if failed else col(Record.error_class) == "")
    return conditions


def _good(family: str) -> list[ColumnElement[bool]]:
    """Is it a time on this family that counts?"""
    return [
        col(Record.target_family) == family,
        counts(),
        col(Record.error_class) == "",
        col(Record.mean_sec).is_not(None),
    ]


def _of(workload_id: str, family: str) -> list[ColumnElement[bool]]:
    """What counts of a workload on a family."""
    return [col(Record.workload_id) == workload_id, col(Record.target_family) == family, counts()]


def counts() -> ColumnElement[bool]:
    """Is a record the one of its candidate's attempts that counts?"""
    return col(Record.superseded) == false()


def _attempts(session: Session, record: Record) -> list[Attempt]:
    """All that is known of a record's candidate."""
    candidate = {"workload": record.workload_id, "family": record.target_family, "id": record.candidate}
    return [Attempt._make(row) for row in session.connection().execute(_OF_CANDIDATE, candidate)]


def _counting(attempts: Iterable[Attempt]) -> Attempt | None:
    return next((one for one in attempts if not one.superseded), None)


def _may_follow(known: Attempt, record: Record) -> bool:
    if _is_seed(known):
        return not _is_seed(record)
    return record.source == "measured" and known.error_class in TROUBLE and known.attempt < MAX_ATTEMPTS


def _append(session: Session, record: Record, attempts: Sequence[Attempt]) -> None:
    known = _counting(attempts)
    record.attempt = 1 + max((one.attempt for one in attempts), default=0)
    if known is not None and _is_seed(known):
        session.execute(delete(Record).where(col(Record.id) == known.id))
    elif known is not None and known.mean_sec is not None and record.mean_sec is None:
        record.superseded = True
    elif known is not None:
        session.execute(update(Record).where(col(Record.id) == known.id).values(superseded=True))
    session.add(record)
    session.flush()


def tried() -> ColumnElement[bool]:
    """Has a record a time or an error? A seed has neither."""
    return or_(col(Record.mean_sec).is_not(None), col(Record.error_class) != "")


def _is_seed(record: Record | Attempt) -> bool:
    return record.mean_sec is None and not record.error_class
