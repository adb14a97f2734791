"""Jobs, their workloads and rounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Float, bindparam, case, func, update
from sqlalchemy import delete as sql_delete
from sqlalchemy import select as sql_select
from sqlalchemy.orm import load_only
from sqlmodel import Session, col, select

from tuner.db import device_checks
from tuner.db.models import (
    Artifact,
    Benchmark,
    Event,
    Evidence,
    Job,
    JobWorkload,
    JudgedTexts,
    Model,
    Round,
    Submission,
    Workload,
)
from tuner.db.paging import FIRST, Found, Part, Window, page
from tuner.errors import NotFound
from tuner.state import ACTIVE

# Without the TIR, and without what follows it in a row: that is read only through it.
_SHORT: tuple[Any, ...] = (Workload.name, Workload.summary, Workload.flops, Workload.weight_bytes)


# Built once: they are run for each candidate.
_COUNT_FAILURE = (
    update(JobWorkload)
    .where(col(JobWorkload.job_id) == bindparam("of_job"), col(JobWorkload.workload_id) == bindparam("of_workload"))
    .values(trials=col(JobWorkload.trials) + 1)
)
_BEST, _TOOK = col(JobWorkload.best_us), bindparam("took_us", type_=Float)
_COUNT_TIME = _COUNT_FAILURE.values(best_us=case((_BEST.is_(None) | (_BEST > _TOOK), _TOOK), else_=_BEST))


def get(session: Session, job_id: str) -> Job:
    """The job. Raises NotFound naming it."""
    job = session.get(Job, job_id)
    if job is None:
        raise NotFound(f"There is no job {job_id}.", "List the jobs with `tunesmith jobs`.")
    return job


def find(
    session: Session,
    states: list[str] | None = None,
    model: str | None = None,
    target: str | None = None,
    window: Window = FIRST,
) -> Found[Job]:
    """Jobs, newest first; ``model`` is a model's name or id."""
    query = select(Job)
    if states:
        query = query.where(col(Job.state).in_(states))
    if model:
        named = select(Model.id).where((Model.name == model) | (Model.id == model))
        query = query.where(col(Job.model_id).in_(named))
    if target:
        query = query.where(Job.target == target)
    return page(session, [Part(query, (col(Job.created_at), col(Job.id)), descending=True)], window)


class ActiveJob(NamedTuple):
    """What a pass of the coordinator reads of each job that is not finished, as often as it does."""

    id: str
    state: str
    wish: str
    message: str
    priority: int
    attempts: int
    target: str
    target_family: str
    compile_only: bool
    import_key: str
    snapshot: str | None
    stage_stamp: str


_ACTIVE = (
    sql_select(*(getattr(Job, name) for name in ActiveJob._fields))
    .where(col(Job.state).in_(ACTIVE))
    .order_by(col(Job.priority).desc(), col(Job.created_at), col(Job.id))
)


def active(session: Session) -> list[ActiveJob]:
    """Jobs that are not finished: highest priority first, then oldest."""
    return [ActiveJob._make(row) for row in session.connection().execute(_ACTIVE).all()]


def workloads(session: Session, job_id: str, with_tir: bool = False) -> list[tuple[JobWorkload, Workload]]:
    """The job's workloads in order of first use in the graph; their TIR, which is long, only if asked for."""
    query = (
        select(JobWorkload, Workload)
        .join(Workload, col(Workload.id) == col(JobWorkload.workload_id))
        .where(JobWorkload.job_id == job_id)
        .order_by(col(JobWorkload.position), col(JobWorkload.workload_id))
    )
    if not with_tir:
        query = query.options(load_only(*_SHORT, raiseload=True))
    return [(job_workload, workload) for job_workload, workload in session.exec(query)]


def flops(session: Session, job_ids: Sequence[str]) -> dict[str, float]:
    """Floating-point operations of a call of each job's model, where its kernels are known, as these tell."""
    if not job_ids:
        return {}
    total = func.sum(col(JobWorkload.weight) * col(Workload.flops))
    query = (
        select(JobWorkload.job_id, total)
        .join(Workload, col(Workload.id) == col(JobWorkload.workload_id))
        .where(col(JobWorkload.job_id).in_(job_ids))
        .group_by(col(JobWorkload.job_id))
    )
    return dict(session.exec(query).all())


def count_trial(session: Session, job_id: str, workload_id: str, took_us: float | None) -> None:
    """Count a candidate that was measured for the job; ``took_us`` None: it failed. Call within ``write``."""
    values = {"of_job": job_id, "of_workload": workload_id, "took_us": took_us}
    session.connection().execute(_COUNT_FAILURE if took_us is None else _COUNT_TIME, values)


def rounds(session: Session, job_id: str, state: str | None = None, after: int = -1) -> list[Round]:
    """The job's rounds of higher numbers than ``after``, oldest first; in one state if given."""
    query = select(Round).where(Round.job_id == job_id, col(Round.number) > after)
    if state is not None:
        query = query.where(Round.state == state)
    return list(session.exec(query.order_by(col(Round.number), col(Round.started_at), col(Round.id))))


def running_rounds(session: Session) -> list[Round]:
    """The rounds of all jobs that were started and not closed."""
    return list(session.exec(select(Round).where(Round.state == "running")))


def evidence(session: Session, job_id: str) -> dict[str, Any]:
    """What the job has found out of its module, of one of an earlier release what its artifact says, and what a device
    found of it since. Empty: nothing."""
    own, job = session.get(Evidence, job_id), session.get(Job, job_id)
    made = session.get(Artifact, job.artifact_id) if job is not None and job.artifact_id else None
    manifest = own.manifest if own is not None else made.manifest if made is not None else {}
    return manifest if made is None else manifest | device_checks.since(session, made)


def judged_texts(session: Session, job_id: str) -> list[str]:
    """The user's texts on which the job is compared with float32; none: there are sample sentences for it."""
    given = session.get(JudgedTexts, job_id)
    return given.texts if given is not None else []


def delete(session: Session, job: Job) -> None:
    """Delete the job and what only it owns; its records, which stay, have left it (``bulk.leave_job``)."""
    for table in (Event, Round, JobWorkload, Benchmark, Evidence, JudgedTexts, Submission):
        session.execute(sql_delete(table).where(col(table.job_id) == job.id))
    session.delete(job)
    session.flush()
