"""How a model's results went over time, each held against the one before it of the same kind."""

from __future__ import annotations

from typing import Any, Literal

from sqlmodel import Session

from tuner.bench.rivals import PYTORCH
from tuner.db import history
from tuner.db.history import Result
from tuner.db.models import Benchmark
from tuner.schemas import HistoryPoint

Change = Literal["faster", "slower", "as before"]
_TIMES = {"median_ms", "p10_ms", "p90_ms", "mean_ms", "std_ms", "machine", "threads"}


def history_of(session: Session, model: str, target: str | None, limit: int) -> list[HistoryPoint]:
    """The last results of a model, oldest first. Raises NotFound."""
    return points(history.results(session, model, target, limit))


def points(results: list[Result]) -> list[HistoryPoint]:
    """Pure: those that have a time of their module, each with what the one before it took that was of the same target,
    shape and precision, on the same machine with as many threads."""
    before: dict[Any, Benchmark] = {}
    found = []
    for job, rows, versions in results:
        tuned = next((row for row in rows if row.variant == "tuned"), None)
        if tuned is None:
            continue
        shape = tuple(job.lengths or ()) or (job.batch, job.seq_len)
        precision = tuned.precision or job.precision
        kind = (job.model_id, job.target, shape, precision, tuned.machine, tuned.threads)
        previous = before.get(kind)
        before[kind] = tuned
        found.append(
            HistoryPoint(
                **job.model_dump(include={"target", "batch", "seq_len", "weights", "finished_at"}),
                **tuned.model_dump(include=_TIMES),
                job_id=job.id,
                created_at=job.created_at,
                lengths=[job.lengths[0], job.lengths[len(job.lengths) // 2], job.lengths[-1]] if job.lengths else None,
                precision=precision,
                revision=job.source_json.get("revision", ""),
                versions=versions,
                baseline_ms=min((row.median_ms for row in rows if row.variant in PYTORCH), default=None),
                previous_ms=previous.median_ms if previous else None,
                change=change(previous, tuned) if previous else None,
            )
        )
    return found


def change(before: Benchmark, now: Benchmark) -> Change:
    """Is a result another one? Only where nine tenths of its runs are on one side of nine tenths of those before:
    between two runs of a job the machine may have changed its pace."""
    if now.p90_ms < before.p10_ms:
        return "faster"
    return "slower" if now.p10_ms > before.p90_ms else "as before"
