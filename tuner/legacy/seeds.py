"""From stored Ansor records to candidates of ours: replayed, and kept without a time until a job measures them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import tvm
from sqlalchemy import Engine

from rpc.versions import PINS
from tuner.db import records
from tuner.db.engine import read, write
from tuner.db.models import Job, Record
from tuner.importers.operators.catalog import Operator
from tuner.kernels.context import Replay, candidate_id
from tuner.kernels.space import space_for
from tuner.legacy import store, summary
from tuner.legacy.replay import NotReplayable, replay
from tuner.legacy.transform import parse_steps

_MOST = 32  # fastest records that are replayed: what Ansor found best is close together
_GPUS = ("metal", "cuda", "vulkan", "opencl", "rocm")
_CPUS = ("llvm", "c")


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


def bring_in(engine: Engine, job: Job, operator: Operator, workload_id: str, mod: Any, target: Any) -> Seeded:
    """Replay the fastest legacy records of this operator as schedules of ``mod``; what is new is stored as seeds."""
    kinds = _GPUS if target.kind.name in _GPUS else _CPUS
    with read(engine) as db:
        legacy_id = summary.workload_id(operator.kind.name, operator.args)
        found = [row for kind in kinds for row in records.best(db, legacy_id, store.family(kind), _MOST)]
        known = records.known_candidates(db, workload_id, job.target_family)
    out = Seeded()
    fastest = sorted(found, key=lambda row: row.mean_sec or 0.0)[:_MOST]
    if not fastest:
        return out
    for row, name, trace in _replayed(fastest, mod, target, out):
        if name in known:
            continue
        seed = Record(
            workload_id=workload_id,
            target_family=job.target_family,
            target_json=job.target_json,
            candidate=name,
            trace=trace,
            tvm_version=PINS["apache-tvm"],
            evaluator={"seed": {"record": row.id, "target": row.target_json["ansor"], "run_secs": row.run_secs}},
            source="imported",
        )
        with write(engine) as db:
            out.seeds += records.add(db, seed)
    return out


def _replayed(rows: list[Record], mod: Any, target: Any, out: Seeded) -> Iterator[tuple[Record, str, str]]:
    """Each row that has an equal here, with the candidate's id and its record JSON."""
    ours = Replay(mod, target, space_for(target))
    for row in rows:
        try:
            schedule = ours.post_process(replay(mod, parse_steps(json.loads(row.trace))))
        except (NotReplayable, tvm.error.InternalError, ValueError) as problem:
            out.obstacles[str(problem).splitlines()[0]] += 1
            continue
        if schedule is None:
            out.obstacles["it breaks a limit of the target"] += 1
            continue
        yield row, candidate_id(schedule), ours.trace_json(ours.candidate(schedule))
