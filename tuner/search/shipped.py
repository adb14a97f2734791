"""Records that come with the product: a job starts from those that fit its workloads and target family."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from sqlalchemy import Engine

from tuner.config import Settings
from tuner.db import log
from tuner.schemas import ImportOut


def logs_folder(settings: Settings) -> Path:
    """Where shipped logs lie: as told, in the installed package, or in the checkout."""
    if settings.logs_dir is not None:
        return settings.logs_dir
    packaged = Path(str(resources.files("tuner"))) / "_tuning_logs"
    return packaged if packaged.is_dir() else Path(str(resources.files("tuner"))).parent / "tuning_logs"


def matching_lines(settings: Settings, workload_ids: set[str], family: str) -> Iterator[bytes]:
    """Lines of shipped logs of these workloads on this family.

    A log is named ``FAMILY.MODEL.jsonl.gz``; a line belongs to a workload whose id stands in it.
    """
    for path in sorted(logs_folder(settings).glob(f"{family}.*.jsonl.gz")):
        with gzip.open(path, "rb") as lines:
            for line in lines:
                if any(workload.encode() in line[:200] for workload in workload_ids):
                    yield line


def bring_in(engine: Engine, settings: Settings, workload_ids: set[str], family: str) -> ImportOut:
    """Store the matching shipped records, those that are known already excepted."""
    return log.import_lines(engine, matching_lines(settings, workload_ids, family), source="shipped")
