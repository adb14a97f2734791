"""The smallest rows a test can start from."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from sqlmodel import Session

from tuner.db import models_
from tuner.db.models import Job, Record, Workload


def utcnow() -> datetime:
    """Now, in UTC, by this machine's clock."""
    return datetime.now(timezone.utc)


def make_workload(number: int = 1, **fields: Any) -> Workload:
    """A workload whose id is made of ``number``."""
    given = {"name": "matmul", "summary": "float32[8,8] x float32[8,8]", "flops": 1024.0, "tir": '{"nodes":[]}'}
    return Workload(id=f"wl-{number:016x}", **{**given, **fields})


def make_record(
    candidate: str, mean_sec: float | None, workload: int = 1, family: str = "llvm-test", **fields: Any
) -> Record:
    """A record of ``make_workload(workload)``; one that failed when ``mean_sec`` is None."""
    given = {
        "trace": '[[[],[]],[0.5],{"kind":"llvm"},null]',
        "run_secs": [] if mean_sec is None else [mean_sec],
        "error_class": "build" if mean_sec is None else "",
        "target_json": {"kind": "llvm"},
        "tvm_version": "0.27.0",
    }
    return Record(
        workload_id=f"wl-{workload:016x}",
        target_family=family,
        candidate=candidate,
        mean_sec=mean_sec,
        **{**given, **fields},
    )


def add_job(session: Session, state: str = "submitted", model: str = "minilm-l6", **fields: Any) -> Job:
    """A job in ``state``, with its model."""
    row = models_.put(session, model, "encoder", source="preset", location=model, max_seq_len=512)
    job = Job(model_id=row.id, state=state, **{"target": "local", "budget_trials": 64, "snapshot": "", **fields})
    session.add(job)
    session.flush()
    return job
