"""Records that come with the product: a job starts from those of its workloads on its target family."""

from __future__ import annotations

import glob
import gzip
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path

from sqlalchemy import Engine

from tuner.config import Settings
from tuner.db import log
from tuner.legacy import store
from tuner.schemas import ImportOut
from tuner.targets import triples

OF_RELATED = 8  # records of another workload that a search looks at: evolution's may be among the best
_WORKLOAD = re.compile(rb'"id":"([^"]+)"')


def logs_folder(settings: Settings) -> Path:
    """Where shipped logs lie: as told, in the installed package, or in the checkout."""
    if settings.logs_dir is not None:
        return settings.logs_dir
    packaged = Path(str(resources.files("tuner"))) / "_tuning_logs"
    return packaged if packaged.is_dir() else Path(str(resources.files("tuner"))).parent / "tuning_logs"


def matching_lines(settings: Settings, workload_ids: set[str], family: str, of_others: int) -> Iterator[bytes]:
    """Lines of shipped logs of these workloads on this family, and the first few of each other workload.

    A log is named ``FAMILY.MODEL.jsonl.gz``; it holds a workload's records fastest first.
    """
    others: Counter[str] = Counter()
    for path in sorted(logs_folder(settings).glob(f"{glob.escape(triples.file_name(family))}.*.jsonl.gz")):
        with gzip.open(path, "rb") as lines:
            for line in lines:
                found = _WORKLOAD.search(line, 0, 200)
                workload = found[1].decode() if found else ""
                if workload not in workload_ids:
                    others[workload] += 1
                if workload in workload_ids or others[workload] <= of_others:
                    yield line


def bring_in_of_ansor(engine: Engine, settings: Settings, operator: str, kinds: Iterable[str]) -> None:
    """Store the shipped logs of Ansor's that are of an operator and of these kinds of targets; what is known already
    stays as it is. A log is named ``ansor-KIND.OPERATOR.json.gz``."""
    for kind in kinds:
        path = logs_folder(settings) / f"{store.family(kind)}.{operator}.json.gz"
        if path.is_file():
            with path.open("rb") as file:
                store.import_file(engine, file)


def bring_in(engine: Engine, settings: Settings, workload_ids: set[str], family: str) -> ImportOut:
    """Store the shipped records of these workloads, and the best of others for a search or a guess to look at; those
    that are known already excepted."""
    lines = matching_lines(settings, workload_ids, family, OF_RELATED)
    return log.import_lines(engine, lines, source="shipped")
