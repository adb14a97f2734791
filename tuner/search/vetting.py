"""Records of others are tried by a process that may die of them before they get into this one."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Engine

from tuner.db import records
from tuner.db.engine import write
from tuner.db.models import Record
from tuner.kernels.tiles import Product
from tuner.measuring.build_process import Tried
from tuner.measuring.builder import BuildPool
from tuner.measuring.questions import ProductIn, Replays, Steps
from tuner.search.tiled import relatives_among
from tuner.search.transfer import Kernel, Relative

log = logging.getLogger(__name__)

_TIMEOUT_SEC = 15.0  # a replay takes some milliseconds
_AT_A_TIME, _MOST_DEATHS = 16, 4  # after so many, what is left of a workload's is not looked at this time


class Vetting:
    """Knows which foreign records of one database a process survived."""

    def __init__(self, engine: Engine, builders: BuildPool) -> None:
        self._engine = engine
        self._builders = builders
        self._survived: set[int | None] = set()

    def usable(self, rows: Sequence[Record], tir: str, target: dict[str, Any]) -> list[Record]:
        """Those of a workload's records that can be replayed here; one that ends processes counts as failed.

        Raises OSError when no process can be started.
        """
        doubtful = (row for row in rows if not self._is_usable(row))
        deaths = 0
        while deaths < _MOST_DEATHS and (some := list(islice(doubtful, _AT_A_TIME))):
            tried = self._ask(Replays(tir, json.dumps(target), row.trace) for row in some)
            for row, one in zip(some, tried, strict=True):
                if one.problem:
                    deaths += 1
                    self._mark(row, one.problem)
                else:
                    self._survived.add(row.id)
        return [row for row in rows if self._is_usable(row)]

    def relatives(self, kernels: Iterable[Kernel]) -> list[Relative]:
        """Those of the kernels that are products; their TIR may be another's."""
        found = list(kernels)
        answers = [one.answer for one in self._ask(ProductIn(kernel.tir) for kernel in found)]
        products = [Product(**answer) if answer else None for answer in answers]
        return relatives_among(zip(found, products, strict=True))

    def replay_steps(self, tir: str, target: dict[str, Any], steps: Iterable[str]) -> list[dict[str, str]]:
        """What ``Steps`` answers for each of the Ansor records' steps; the death of a process is an obstacle too."""
        tried = self._ask(Steps(tir, json.dumps(target), one) for one in steps)
        return [one.answer or {"obstacle": one.problem} for one in tried]

    def _is_usable(self, row: Record) -> bool:
        return row.source != "imported" or row.id in self._survived

    def _ask(self, questions: Iterable[Replays | ProductIn | Steps]) -> list[Tried]:
        return self._builders.ask(questions, _TIMEOUT_SEC)

    def _mark(self, row: Record, problem: str) -> None:
        log.warning("record %s of %s can't be replayed: %s", row.candidate, row.workload_id, problem)
        with write(self._engine) as db:
            records.judge(
                db, row.workload_id, row.target_family, row.candidate, "crash", f"when it was replayed {problem}"
            )
