"""Logs of Ansor (``tvm.auto_scheduler``, TVM 0.8 to 0.19) read as data. Pure.

A line is ``{"i": [[workload key, target, hardware params, ...], [[], steps]], "r": [costs, error_no, all_cost,
timestamp], "v": "v0.x"}``, as TVM 0.8 wrote it in src/auto_scheduler/measure_record.cc; `transform` reads its steps.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from types import MappingProxyType
from typing import Any

from tuner import strict_json
from tuner.legacy.transform import Step, parse_steps
from tuner.legacy.values import number, text

NO_ERROR = 0
# MeasureErrorNo of Ansor: what a record's error class is called here.
ERRORS: Mapping[int, str] = MappingProxyType(
    {1: "build", 2: "build", 3: "build", 4: "run", 5: "wrong", 6: "build_timeout", 7: "timeout", 8: "run"}
)
_LATEST = 4_102_444_800  # the year 2100, in Unix seconds
_MAX_SECONDS = 1e9
_MAX_TIMES = 10_000
_MAX_STEPS_CHARS = 256 * 1024


@dataclass(frozen=True)
class AnsorRecord:
    """One line: what was tuned (``name`` and ``args`` of the workload key), for which target, by which steps, and the
    seconds of each repeat (empty when it failed, with ``error_class``); ``timestamp`` in Unix seconds."""

    name: str
    args: tuple[Any, ...]
    target: str
    steps: tuple[Step, ...]
    steps_json: str
    run_secs: tuple[float, ...]
    error_class: str
    timestamp: int
    version: str

    @property
    def mean_sec(self) -> float | None:
        """Seconds, None when it failed."""
        return fmean(self.run_secs) if self.run_secs else None

    @property
    def target_kind(self) -> str:
        """The first word of the target: metal, cuda, llvm."""
        return self.target.split()[0]


def is_ansor(line: bytes) -> bool:
    """Does this line look like one of Ansor's? Ours have other keys."""
    try:
        value = strict_json.parse(line)
    except ValueError:
        return False
    return isinstance(value, dict) and {"i", "r", "v"} <= set(value)


def parse_line(line: bytes) -> AnsorRecord:
    """One line of a log. Raises ValueError saying what is wrong with it, whatever it is."""
    try:
        value = strict_json.parse(line)
        (key, target, *_), state = value["i"]
        costs, error_no, _, timestamp = value["r"]
        name, *args = strict_json.parse(text(key, "workload key"), max_depth=4)
        text(", ".join(map(str, args)), "arguments")
        raw_steps = state[1]
        good = error_no == NO_ERROR
        return AnsorRecord(
            name=text(name, "name"),
            args=tuple(args),
            target=_target(target),
            steps=parse_steps(raw_steps),
            steps_json=strict_json.dump(raw_steps, "steps", _MAX_STEPS_CHARS),
            run_secs=_times(costs) if good else (),
            error_class="" if good else ERRORS.get(error_no, "run"),
            timestamp=number(timestamp, "timestamp", 0, _LATEST),
            version=text(value["v"], "version")[:50],
        )
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"not a line of an Ansor log ({type(error).__name__}: {error})") from None


def _target(value: Any) -> str:
    target = text(value, "target")
    if not re.match(r"[A-Za-z0-9_]+( |$)", target):
        raise ValueError(f"{target[:60]!r} is no target")
    return target


def _times(costs: Any) -> tuple[float, ...]:
    if not costs or len(costs) > _MAX_TIMES or not all(0 < cost < _MAX_SECONDS for cost in costs):
        raise ValueError("a measured record without times")
    return tuple(map(float, costs))
