"""What an Ansor log holds, by workload and target: counts, the best, the way there, whether it replays. Pure.

A log is taken record by record, and nothing of a record is kept but what its summary shows: a log may have millions.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import Any

from tuner.errors import TunerError
from tuner.importers.operators import catalog
from tuner.legacy.ansor import AnsorRecord
from tuner.legacy.transform import Rfactor, StorageAlign
from tuner.schemas import LegacyOut, LegacyPoint

MAX_SUMMARIES = 200  # workloads and targets of one log that are told of
_MAX_POINTS = 1000
_MAX_OBSTACLES = 20
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


class Summaries:
    """What the records that were added come to; of more than ``MAX_SUMMARIES`` workloads the first are told."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], _Summary] = {}

    def add(self, record: AnsorRecord) -> None:
        """Take one record into account."""
        key = record.name, json.dumps(record.args), record.target
        if key not in self._found and len(self._found) < MAX_SUMMARIES:
            self._found[key] = _Summary(record)
        if key in self._found:
            self._found[key].add(record)

    def told(self) -> list[LegacyOut]:
        """One summary for each workload and target, in the order of their names."""
        return [self._found[key].told() for key in sorted(self._found)]


class _Summary:
    def __init__(self, first: AnsorRecord) -> None:
        self._workload = f"{first.name}({', '.join(map(str, first.args))})"
        self._target = first.target
        self._operator = operator_of(first.name, first.args)
        self._records = self._failed = self._replayable = 0
        self._began = first.timestamp
        self._obstacles: set[str] = set()
        self._times: list[int] = []  # of the records that were faster than all before them, and
        self._secs: list[float] = []  # what they took, so in falling order

    def add(self, record: AnsorRecord) -> None:
        self._records += 1
        self._began = min(self._began, record.timestamp)
        if problem := obstacle(record):
            if len(self._obstacles) < _MAX_OBSTACLES:
                self._obstacles.add(problem)
        elif record.mean_sec is not None:
            self._replayable += 1
        if record.mean_sec is None:
            self._failed += 1
        else:
            self._place(record.timestamp, record.mean_sec)

    def _place(self, timestamp: int, mean_sec: float) -> None:
        """Put a time on the way to the best, wherever in the log it stands; what it makes no best of goes."""
        before = bisect_right(self._times, timestamp)
        if before and self._secs[before - 1] <= mean_sec:
            return
        start = bisect_left(self._times, timestamp)
        end = start
        while end < len(self._secs) and self._secs[end] >= mean_sec:
            end += 1
        self._times[start:end], self._secs[start:end] = [timestamp], [mean_sec]
        if len(self._times) > _MAX_POINTS:
            del self._times[1:-1:2], self._secs[1:-1:2]

    def told(self) -> LegacyOut:
        flops = self._operator.flops if self._operator else None
        best_sec = self._secs[-1] if self._secs else None
        return LegacyOut(
            workload=self._workload,
            target=self._target,
            records=self._records,
            failed=self._failed,
            best_us=best_sec * 1e6 if best_sec else None,
            gflops=flops / best_sec / 1e9 if flops and best_sec else None,
            curve=[
                LegacyPoint(
                    t_sec=timestamp - self._began,
                    best_us=mean_sec * 1e6,
                    gflops=flops / mean_sec / 1e9 if flops else None,
                )
                for timestamp, mean_sec in zip(self._times, self._secs, strict=True)
            ],
            model=self._operator.text if self._operator and self._replayable else "",
            replayable=self._replayable,
            obstacles=sorted(self._obstacles),
        )
