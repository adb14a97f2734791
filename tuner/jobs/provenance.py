"""What a module is made of: the records beside it, and what its manifest says of where its schedules are from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from tuner.db import log_line
from tuner.db.models import Record, Workload
from tuner.kernels import written
from tuner.kernels.blas import BlasCall
from tuner.search.guess import Guess
from tuner.targets.blas import blas_of

Kernels = Sequence[tuple[int, Workload]]  # of a model: launches of each workload, in the order of the graph


def keep_records(
    folder: Path,
    kernels: Kernels,
    kept: Mapping[str, Record],
    ready_made: Mapping[str, str],
    left_out: Sequence[str] = (),
    guessed: Mapping[str, Guess] | None = None,
    units: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write the records a module is made of beside it, by workload id; what its manifest says of where it is from.

    ``ready_made`` names the schedule of each workload that a ready-made one won, ``left_out`` are the records that
    could not be used, in words; ``guessed`` are schedules that nothing has measured; ``units`` say by workload what
    beside the cores computes it.
    """
    guesses = guessed or {}
    found = [(workload, kept[workload.id]) for _, workload in kernels if workload.id in kept]
    (folder / "records.jsonl").write_text("".join(log_line.line_of(record, workload) for workload, record in found))
    others = sum(record.source == "imported" for _, record in found)
    return {
        "records": len(found),
        **({"imported_records": others} if others else {}),
        "winners": sorted(
            [
                *(record.candidate for _, record in found),
                *map(":".join, ready_made.items()),
                *(f"{workload}:{one.name}" for workload, one in guesses.items()),
            ]
        ),
        "coverage": coverage(kernels, {*kept, *ready_made}),
        "guessed": coverage(kernels, guesses),
        "kernels": len(kernels),
        "schedules": [
            {
                "workload": w.id,
                "kernel": w.name,
                "arguments": w.summary,
                "launches": n,
                "by": _chosen_by(w.id, kept, ready_made, guesses),
                **({"unit": units[w.id]} if units and w.id in units else {}),
            }
            for n, w in kernels
        ],
        **({"left_out": list(left_out)} if left_out else {}),
    }


def units_of(kernels: Kernels, traces: Mapping[str, str], target: Mapping[str, Any]) -> dict[str, str]:
    """What beside the cores computes the workloads, by id, of those whose ``traces``, by TIR, are calls of the target's
    library."""
    library = blas_of(target)
    if library is None:
        return {}
    calls = {tir for tir, trace in traces.items() if isinstance(written.from_json(trace), BlasCall)}
    return {w.id: library.unit for _, w in kernels if w.tir in calls}


def _chosen_by(
    workload: str, kept: Mapping[str, Record], ready_made: Mapping[str, str], guesses: Mapping[str, Guess]
) -> str:
    """How a kernel's schedule was chosen, in words."""
    if workload in kept:
        return f"measured: record {kept[workload].candidate}"
    if workload in ready_made:
        return f"measured: {ready_made[workload]}"
    return f"guessed: {guesses[workload].by}" if workload in guesses else "plain"


def coverage(kernels: Kernels, chosen: Collection[str]) -> float:
    """Part of the model's floating-point operations, 0..1, in ``chosen`` workloads. A manifest's ``coverage`` is that
    of schedules that were measured, found by search or ready-made, its ``guessed`` that of guesses."""
    total = sum(launches * workload.flops for launches, workload in kernels)
    found = sum(launches * workload.flops for launches, workload in kernels if workload.id in chosen)
    return found / total if total else 0.0
