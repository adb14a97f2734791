"""What jobs of one model came to."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlmodel import Session, col, select

from tuner.db import benchmarks
from tuner.db.models import Benchmark, Evidence, Job, Model
from tuner.errors import NotFound


class Result(NamedTuple):
    """A job that timed its module, with all that was timed, and what the module was made with."""

    job: Job
    rows: list[Benchmark]
    versions: dict[str, Any]


def results(session: Session, model: str, target: str | None, limit: int) -> list[Result]:
    """The last of a model's jobs that timed their modules, oldest first. ``model`` is a name or an id.

    Raises NotFound for a model that nobody has asked for.
    """
    ids = list(session.exec(select(Model.id).where((Model.name == model) | (Model.id == model))))
    if not ids:
        raise NotFound(f"There is no model {model}.", "List the models with `tunesmith models list`.")
    query = (
        select(Job, Evidence.manifest["versions"])
        .outerjoin(Evidence, col(Evidence.job_id) == col(Job.id))
        .where(col(Job.model_id).in_(ids), col(Job.latency_ms).is_not(None))
        .order_by(col(Job.created_at).desc(), col(Job.id).desc())
        .limit(limit)
    )
    if target is not None:
        query = query.where(Job.target == target)
    found = [(job, versions or {}) for job, versions in session.exec(query)]
    rows: dict[str, list[Benchmark]] = {job.id: [] for job, _ in found}
    for row in benchmarks.of_jobs(session, list(rows)):
        rows[row.job_id].append(row)
    return [Result(job, rows[job.id], versions) for job, versions in reversed(found)]
