"""Logs of Ansor (``tvm.auto_scheduler``, TVM 0.8 to 0.19) read as data. Pure.

A line is ``{"i": [[workload key, target, hardware params, ...], [[], steps]], "r": [costs, error_no, all_cost,
timestamp], "v": "v0.x"}``, as TVM 0.8 wrote it in src/auto_scheduler/measure_record.cc; a step begins with its kind,
as in src/auto_scheduler/transform_step.cc, then the stage it changes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import mean
from types import MappingProxyType
from typing import Any

NO_ERROR = 0
# MeasureErrorNo of Ansor: what a record's error class is called here.
ERRORS: Mapping[int, str] = MappingProxyType(
    {1: "build", 2: "build", 3: "build", 4: "run", 5: "wrong", 6: "build_timeout", 7: "timeout", 8: "run"}
)
ANNOTATIONS = (
    "none", "unroll", "vectorize", "parallel", "vthread", "blockIdx.x", "threadIdx.x", "blockIdx.y", "threadIdx.y",
    "blockIdx.z", "threadIdx.z", "tensorize",
)  # fmt: skip


@dataclass(frozen=True)
class Split:
    """SP: divide a loop; with ``inner_to_outer`` the lengths are those of all parts but the outermost."""

    stage: int
    loop: int
    lengths: tuple[int, ...]
    inner_to_outer: bool


@dataclass(frozen=True)
class FollowSplit:
    """FSP: divide a loop as step ``source`` did, into ``parts`` and one more."""

    stage: int
    loop: int
    source: int
    parts: int


@dataclass(frozen=True)
class FollowFusedSplit:
    """FFSP: divide a loop by the product of what the steps ``sources`` chose at ``level``."""

    stage: int
    loop: int
    sources: tuple[int, ...]
    level: int
    inner_to_outer: bool


@dataclass(frozen=True)
class Reorder:
    """RE: the loops in their new order."""

    stage: int
    order: tuple[int, ...]


@dataclass(frozen=True)
class Fuse:
    """FU: join neighbouring loops."""

    stage: int
    loops: tuple[int, ...]


@dataclass(frozen=True)
class Annotate:
    """AN: one of ``ANNOTATIONS``."""

    stage: int
    loop: int
    what: str


@dataclass(frozen=True)
class Pragma:
    """PR: a pragma, such as ``auto_unroll_max_step$512``."""

    stage: int
    loop: int
    text: str


@dataclass(frozen=True)
class ComputeAt:
    """CA: compute a stage within a loop of another one."""

    stage: int
    target: int
    loop: int


@dataclass(frozen=True)
class ComputeInline:
    """CI: compute a stage where it is read."""

    stage: int


@dataclass(frozen=True)
class ComputeRoot:
    """CR: compute a stage by itself."""

    stage: int


@dataclass(frozen=True)
class CacheRead:
    """CHR: stage an operand in faster memory for these readers."""

    stage: int
    scope: str
    readers: tuple[int, ...]


@dataclass(frozen=True)
class CacheWrite:
    """CHW: gather a stage's results in faster memory first."""

    stage: int
    scope: str


@dataclass(frozen=True)
class Rfactor:
    """RF: split a reduction into parts that are summed up later."""

    stage: int
    loop: int
    axis: int


@dataclass(frozen=True)
class StorageAlign:
    """SA: pad rows of a buffer."""

    stage: int
    loop: int
    factor: int
    offset: int


Step = (
    Split
    | FollowSplit
    | FollowFusedSplit
    | Reorder
    | Fuse
    | Annotate
    | Pragma
    | ComputeAt
    | ComputeInline
    | ComputeRoot
    | CacheRead
    | CacheWrite
    | Rfactor
    | StorageAlign
)

_STEPS: dict[str, Callable[..., Step]] = {
    "SP": lambda stage, loop, extent, lengths, inner: Split(stage, loop, tuple(lengths), bool(inner)),
    "FSP": FollowSplit,
    "FFSP": lambda stage, loop, sources, level, inner: FollowFusedSplit(
        stage, loop, tuple(sources), level, bool(inner)
    ),
    "RE": lambda stage, order: Reorder(stage, tuple(order)),
    "FU": lambda stage, loops: Fuse(stage, tuple(loops)),
    "AN": lambda stage, loop, what: Annotate(stage, loop, ANNOTATIONS[what]),
    "PR": Pragma,
    "CA": ComputeAt,
    "CI": ComputeInline,
    "CR": ComputeRoot,
    "CHR": lambda stage, scope, readers: CacheRead(stage, scope, tuple(readers)),
    "CHW": CacheWrite,
    "RF": Rfactor,
    "SA": StorageAlign,
}


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
        return mean(self.run_secs) if self.run_secs else None

    @property
    def target_kind(self) -> str:
        """The first word of the target: metal, cuda, llvm."""
        return self.target.split()[0] if self.target.split() else ""


def is_ansor(line: bytes) -> bool:
    """Does this line look like one of Ansor's? Ours have other keys."""
    try:
        value = json.loads(line)
    except ValueError:
        return False
    return isinstance(value, dict) and {"i", "r", "v"} <= set(value)


def parse_line(line: bytes) -> AnsorRecord:
    """One line of a log. Raises ValueError saying what is wrong with it."""
    try:
        value = json.loads(line)
        (key, target, *_), state = value["i"]
        costs, error_no, _, timestamp = value["r"]
        name, *args = json.loads(key)
        raw_steps = state[1]
        steps = parse_steps(raw_steps)
        good = error_no == NO_ERROR
        run_secs = tuple(float(cost) for cost in costs) if good else ()
        if good and not (run_secs and min(run_secs) > 0):
            raise ValueError("a measured record without times")
        return AnsorRecord(
            name=str(name),
            args=tuple(args),
            target=str(target),
            steps=steps,
            steps_json=json.dumps(raw_steps, separators=(",", ":")),
            run_secs=run_secs,
            error_class="" if good else ERRORS.get(error_no, "run"),
            timestamp=int(timestamp),
            version=str(value["v"]),
        )
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"not a line of an Ansor log ({type(error).__name__}: {error})") from None


def parse_steps(raw: list[list[Any]]) -> tuple[Step, ...]:
    """Transform steps from their JSON. Raises ValueError naming a step that is unknown."""
    found = []
    for kind, *rest in raw:
        if kind not in _STEPS:
            raise ValueError(f"unknown transform step {kind!r}")
        found.append(_STEPS[kind](*rest))
    return tuple(found)
