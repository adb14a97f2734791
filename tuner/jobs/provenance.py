"""What a module is made of: the records beside it, and what its manifest says of where its schedules are from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from tuner.db import log_line
from tuner.db.models import Record, Workload

Kernels = Sequence[tuple[int, Workload]]  # of a model: launches of each workload, in the order of the graph


def keep_records(
    folder: Path,
    kernels: Kernels,
    kept: Mapping[str, Record],
    ready_made: Mapping[str, str],
    left_out: Sequence[str] = (),
) -> dict[str, Any]:
    """Write the records a module is made of beside it, by workload id; what its manifest says of where it is from.

    ``ready_made`` names the schedule of each workload that a ready-made one won, ``left_out`` are the records that
    could not be used, in words.
    """
    found = [(workload, kept[workload.id]) for _, workload in kernels if workload.id in kept]
    (folder / "records.jsonl").write_text("".join(log_line.line_of(record, workload) for workload, record in found))
    others = sum(record.source == "imported" for _, record in found)
    return {
        "records": len(found),
        **({"imported_records": others} if others else {}),
        "winners": sorted([*(record.candidate for _, record in found), *map(":".join, ready_made.items())]),
        "coverage": coverage(kernels, {*kept, *ready_made}),
        "kernels": len(kernels),
        **({"left_out": list(left_out)} if left_out else {}),
    }


def coverage(kernels: Kernels, tuned: Collection[str]) -> float:
    """Part of the model's floating-point operations, 0..1, in ``tuned`` workloads: those where a schedule that was
    measured, found by search or ready-made, took the default one's place."""
    total = sum(launches * workload.flops for launches, workload in kernels)
    found = sum(launches * workload.flops for launches, workload in kernels if workload.id in tuned)
    return found / total if total else 0.0
