"""From stored Ansor records to candidates of ours: replayed, and kept without a time until a job measures them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import Engine

from rpc.versions import PINS
from tuner.db import known as known_records
from tuner.db import records
from tuner.db.engine import read, write
from tuner.db.models import Job, Record
from tuner.importers.operators.catalog import Operator
from tuner.legacy import store, summary

_MOST = 32  # fastest records that are replayed: what Ansor found best is close together
_GPUS = ("metal", "cuda", "vulkan", "opencl", "rocm")
_CPUS = ("llvm", "c")

ReplayAll = Callable[[list[str]], list[dict[str, str]]]


@dataclass
class Seeded:
    """How many candidates a log gave, and how often which obstacle was met."""

    seeds: int = 0
    obstacles: Counter[str] = field(default_factory=Counter)

    @property
    def message(self) -> str:
        """For people; empty when there was no log."""
        if not self.seeds and not self.obstacles:
            return ""
        text = f"starting from {self.seeds} schedules of an Ansor log"
        if self.obstacles:
            (why, _), *_ = self.obstacles.most_common(1)
            text += f"; {self.obstacles.total()} could not be replayed ({why})"
        return text


def kinds_like(kind: str) -> tuple[str, ...]:
    """The kinds of targets whose logs say something to a job for this kind."""
    return _GPUS if kind in _GPUS else _CPUS


def bring_in(engine: Engine, job: Job, operator: Operator, workload_id: str, replay_all: ReplayAll) -> Seeded:
    """Replay the fastest legacy records of this operator as schedules of a workload; what is new is stored as seeds.

    ``replay_all`` has each record's steps replayed, as ``tuner.legacy.replay.replayed`` does it.
    """
    kinds = kinds_like(job.target_json["kind"])
    with read(engine) as db:
        legacy_id = summary.workload_id(operator.kind.name, operator.args)
        found = [row for kind in kinds for row in records.best(db, legacy_id, store.family(kind), _MOST)]
        known = known_records.candidates(db, workload_id, job.target_family)
    out = Seeded()
    fastest = sorted(found, key=lambda row: row.mean_sec or 0.0)[:_MOST]
    if not fastest:
        return out
    for row, made in zip(fastest, replay_all([row.trace for row in fastest]), strict=True):
        if "obstacle" in made:
            out.obstacles[made["obstacle"]] += 1
            continue
        if made["name"] in known:
            continue
        seed = Record(
            workload_id=workload_id,
            target_family=job.target_family,
            target_json=job.target_json,
            candidate=made["name"],
            trace=made["trace"],
            tvm_version=PINS["apache-tvm"],
            evaluator={"seed": {"record": row.id, "target": row.target_json["ansor"], "run_secs": row.run_secs}},
            source="imported",
        )
        with write(engine) as db:
            out.seeds += records.add(db, seed)
    return out
