"""What an Ansor log holds, by workload and target: counts, the best, the way there, whether it replays. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from tuner.errors import TunerError
from tuner.importers.operators import catalog
from tuner.legacy.ansor import AnsorRecord, Rfactor, StorageAlign
from tuner.schemas import LegacyOut, LegacyPoint

_WITHOUT_EQUAL = (Rfactor, StorageAlign)


def workload_id(name: str, args: Iterable[Any]) -> str:
    """Identity of a workload by its key, apart from those of TensorIR."""
    return "ansor-" + hashlib.sha256(json.dumps([name, *args]).encode()).hexdigest()[:16]


def operator_of(name: str, args: Iterable[Any]) -> catalog.Operator | None:
    """The operator that a workload key names; None when there is none here."""
    try:
        return catalog.operator(name, list(args))
    except TunerError:
        return None


def obstacle(record: AnsorRecord) -> str:
    """Why the record can only be kept as a reference; empty when its steps can be replayed."""
    if operator_of(record.name, record.args) is None:
        return f"there is no operator {record.name}({', '.join(map(str, record.args))}) here"
    step = next((step for step in record.steps if isinstance(step, _WITHOUT_EQUAL)), None)
    return f"its step {type(step).__name__} has no equal here" if step else ""


def summarise(records: Iterable[AnsorRecord]) -> list[LegacyOut]:
    """One summary for each workload and target, in the order of their names."""

    def key(record: AnsorRecord) -> tuple[str, str, str]:
        return record.name, json.dumps(record.args), record.target

    return [_summary(list(group)) for _, group in groupby(sorted(records, key=key), key)]


def _summary(records: list[AnsorRecord]) -> LegacyOut:
    first = records[0]
    operator = operator_of(first.name, first.args)
    flops = operator.flops if operator else None
    times = [r.mean_sec for r in records if r.mean_sec is not None]
    obstacles = {found for r in records if (found := obstacle(r))}
    replays = sum(1 for r in records if r.mean_sec is not None and not obstacle(r))
    best_sec = min(times, default=None)
    return LegacyOut(
        workload=f"{first.name}({', '.join(map(str, first.args))})",
        target=first.target,
        records=len(records),
        failed=len(records) - len(times),
        best_us=best_sec * 1e6 if best_sec else None,
        gflops=flops / best_sec / 1e9 if flops and best_sec else None,
        curve=_curve(records, flops),
        model=operator.text if operator and replays else "",
        replayable=replays,
        obstacles=sorted(obstacles),
    )


def _curve(records: list[AnsorRecord], flops: float | None) -> list[LegacyPoint]:
    """Each record that was faster than all before it."""
    ordered = sorted(records, key=lambda r: r.timestamp)
    points: list[LegacyPoint] = []
    for record in ordered:
        if record.mean_sec is not None and (not points or record.mean_sec * 1e6 < points[-1].best_us):
            points.append(
                LegacyPoint(
                    t_sec=record.timestamp - ordered[0].timestamp,
                    best_us=record.mean_sec * 1e6,
                    gflops=flops / record.mean_sec / 1e9 if flops else None,
                )
            )
    return points
