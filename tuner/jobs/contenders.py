"""The modules that a job makes: one at the precision it names or, for the fastest, one at each there is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tuner.config import Settings
from tuner.db.models import Job, JobWorkload, Workload
from tuner.importers import cache
from tuner.importers.cache import Imported
from tuner.kernels.context import make_target
from tuner.kernels.precision import FASTEST, modules
from tuner.kernels.workload import ExtractedWorkload, extract

Rows = list[tuple[JobWorkload, Workload]]


@dataclass(frozen=True)
class Contender:
    """A module by its precision: its workloads, and what their times add up to."""

    precision: str
    rows: Rows
    predicted_ms: float


def workloads_of(settings: Settings, job: Job, imported: Imported) -> dict[str, list[ExtractedWorkload]]:
    """A job's workloads by precision, that of float32 first."""
    target = make_target(job.target_json)
    kernels = modules(cache.load_module(settings.imports_dir, imported), job.precision, target)
    return {precision: extract(mod, target) for precision, mod in kernels.items()}


def all_of(by_precision: Mapping[str, list[ExtractedWorkload]]) -> list[ExtractedWorkload]:
    """Each workload once; most are of every precision."""
    return list({one.id: one for kernels in by_precision.values() for one in kernels}.values())


def members(settings: Settings, job: Job, imported: Imported, rows: Rows) -> dict[str, Rows]:
    """A job's rows by precision, that of float32 first."""
    if job.precision != FASTEST:
        return {job.precision: rows}
    ids = {precision: {one.id for one in found} for precision, found in workloads_of(settings, job, imported).items()}
    return {precision: [row for row in rows if row[1].id in known] for precision, known in ids.items()}


def contenders(by_precision: Mapping[str, Rows], took_us: Mapping[str, float]) -> list[Contender]:
    """Of all precisions, with the times of workloads by id."""
    return [
        Contender(precision, rows, sum(took_us[workload.id] for _, workload in rows) / 1e3)
        for precision, rows in by_precision.items()
    ]
