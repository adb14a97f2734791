"""The model as its kernels: one below the other as they first run, with what feeds what drawn beside them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from api.dashboard.words import percent
from tuner.schemas import JobWorkloadOut

WIDTH = 900
_LEFT, _RIGHT, _ROW, _BOX = 200, 700, 54, 38
_NEAREST, _FARTHEST = 26, 170  # how far from the boxes an arc goes that skips one, and the one that skips most


@dataclass(frozen=True)
class Node:
    """A kernel, an input or the output; ``share`` is its part of the time."""

    id: str
    name: str
    detail: str
    share: float | None
    y: int

    @property
    def is_kernel(self) -> bool:
        """Does it run?"""
        return bool(self.detail)

    @property
    def filled(self) -> float:
        """How much of its box is filled, from the left."""
        return round((_RIGHT - _LEFT) * (self.share or 0.0), 1)


@dataclass(frozen=True)
class Arc:
    """What feeds what, as a path; ``back``: the next time around, to the next layer of the model."""

    path: str
    told: str
    back: bool


@dataclass(frozen=True)
class Picture:
    """Where everything is; boxes go from ``left`` to ``right``."""

    nodes: list[Node]
    arcs: list[Arc]
    words: str
    left: int = _LEFT
    right: int = _RIGHT
    box: int = _BOX
    width: int = WIDTH

    @property
    def height(self) -> int:
        """Of all of it."""
        return _ROW * len(self.nodes) + 10


def picture(edges: Sequence[Sequence[str | int]], workloads: Sequence[JobWorkloadOut]) -> Picture | None:
    """Of a manifest's ``flow``, with the job's ``workloads``; None where there is nothing to draw."""
    ends = {str(end) for source, target, _ in edges for end in (source, target)}
    kernels = [one for one in sorted(workloads, key=lambda one: one.position) if one.workload_id in ends]
    known = {one.workload_id for one in kernels}
    if not kernels:
        return None
    inputs = sorted({str(source) for source, _, _ in edges} - known)
    outputs = sorted(ends - known - set(inputs))
    told = [
        *((name, name, "", None) for name in inputs),
        *((one.workload_id, one.name, _detail(one), one.share) for one in kernels),
        *((name, name, "", None) for name in outputs),
    ]
    nodes = [Node(*one, y=5 + n * _ROW) for n, one in enumerate(told)]
    rows = {one.id: n for n, one in enumerate(nodes)}
    arcs = [
        _arc(rows[str(source)], rows[str(target)], len(nodes), _told(nodes, rows, (source, target, count)))
        for source, target, count in edges
    ]
    return Picture(nodes, arcs, _in_words(kernels))


def _arc(source: int, target: int, rows: int, told: str) -> Arc:
    """A line down to the next box; past others an arc to the right of them; to one above an arc to the left."""
    if target == source + 1:
        x = (_LEFT + _RIGHT) // 2
        return Arc(f"M {x} {5 + source * _ROW + _BOX} V {5 + target * _ROW}", told, False)
    back = target <= source
    side, way = (_LEFT, -1) if back else (_RIGHT, 1)
    far = side + way * round(_NEAREST + (_FARTHEST - _NEAREST) * abs(target - source) / max(rows - 1, 1))
    leaves, enters = 5 + source * _ROW + _BOX - 10, 5 + target * _ROW + 10
    return Arc(f"M {side} {leaves} C {far} {leaves} {far} {enters} {side} {enters}", told, back)


def _detail(one: JobWorkloadOut) -> str:
    launches = f"{one.weight} launch{'es' if one.weight > 1 else ''}"
    share = "" if one.share is None else percent(one.share)
    return ", ".join(filter(None, [launches, f"by {one.unit}" if one.unit else "", share]))


def _told(nodes: Sequence[Node], rows: dict[str, int], edge: Sequence[str | int]) -> str:
    source, target, count = edge
    times = f", {count} times" if int(count) > 1 else ""
    return f"{nodes[rows[str(source)]].name} feeds {nodes[rows[str(target)]].name}{times}"


def _in_words(kernels: Sequence[JobWorkloadOut]) -> str:
    slowest = max(kernels, key=lambda one: one.share or 0.0)
    most = f"; {slowest.name} takes the most of the time, {percent(slowest.share)}" if slowest.share else ""
    return f"{len(kernels)} kernels, from {kernels[0].name} to {kernels[-1].name}, and what feeds what{most}."
