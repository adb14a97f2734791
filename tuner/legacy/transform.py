"""Ansor's transform steps as data. Pure. A step begins with its kind, then the stage it changes, as TVM 0.8 wrote it in
src/auto_scheduler/transform_step.cc.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

from tuner.legacy.values import number, numbers, text

_MAX_STEPS = 2000
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

_FIELDS: Mapping[Any, Callable[[Any, str], object]] = MappingProxyType(
    {"int": number, "tuple[int, ...]": numbers, "str": text, "bool": lambda value, what: None}
)


def parse_steps(raw: Any) -> tuple[Step, ...]:
    """Transform steps from their JSON. Raises ValueError naming a step that is unknown, or how it is wrong."""
    if not isinstance(raw, list) or len(raw) > _MAX_STEPS:
        raise ValueError(f"the steps are no list of at most {_MAX_STEPS}")
    return tuple(_step(*one) if isinstance(one, list) else _step(one) for one in raw)


def _step(kind: Any = None, *rest: Any) -> Step:
    if not isinstance(kind, str) or kind not in _STEPS:
        raise ValueError(f"unknown transform step {str(kind)[:20]!r}")
    try:
        step = _STEPS[kind](*rest)
    except (TypeError, IndexError) as error:
        raise ValueError(f"step {kind} can't be read: {error}") from None
    for field in fields(step):
        _FIELDS[field.type](getattr(step, field.name), f"{field.name} of step {kind}")
    return step
