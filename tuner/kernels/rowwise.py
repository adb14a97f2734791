"""Row-wise kernels (softmax, layer norm): a few schedules that keep a row in the nearest cache.

A core reads, reduces and writes a row while it is there. Sums and maxima are taken as vectors of partial ones, which
the compiler may not do by itself: it must keep the order of a sum. What is costly and used twice, an exponential, is
kept for the row; what is cheap is computed again. The search's own rules inline the exponential into both its uses and
reduce in loops apart: their best of dozens took twice as long as any of these.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from math import gcd, prod
from typing import Any

from tvm import tirx
from tvm.s_tir import Schedule

from tuner.kernels.blocks import block_names, is_reduction, operations
from tuner.kernels.context import NO_SCHEDULE
from tuner.kernels.products import cpu_of
from tuner.kernels.tiles import Cpu

_COSTLY = 4  # operations on an element from which it is kept rather than computed again
_VECTORS = (1, 2, 4)  # of partial sums
_STEPS = 8  # of a row at least, for which more vectors of them pay
_FOLD = 4  # sums left when those of the vectors have been folded; these are then added one by one


@dataclass(frozen=True)
class Variant:
    """One schedule: this many ``vectors`` of so many ``lanes`` hold partial sums."""

    lanes: int
    vectors: int


def schedules(mod: Any, target: Any) -> list[Any]:
    """The schedules there are for a module's function ``main``, none where it is not row-wise."""
    found = []
    for variant in variants(mod, cpu_of(target)) if target.kind.name == "llvm" else ():
        with suppress(*NO_SCHEDULE):
            found.append(schedule(mod, variant))
    return found


def variants(mod: Any, cpu: Cpu) -> list[Variant]:
    """What there is to choose from, most promising first; nothing where the module's function is not row-wise."""
    columns = _columns(mod) or 0
    lanes = gcd(columns, cpu.lanes)
    if lanes < _FOLD:
        return []
    found = [n for n in _VECTORS if columns > n * lanes and columns % (n * lanes) == 0]
    long = [n for n in reversed(found) if columns >= _STEPS * n * lanes]
    return [Variant(lanes, n) for n in dict.fromkeys((*long, *found))]


def schedule(mod: Any, variant: Variant) -> Any:
    """The module's function scheduled so."""
    sch = Schedule(mod)
    names = block_names(sch)
    for name in names[:-1]:
        if not is_reduction(_block(sch, name)) and not _is_kept(sch, name):
            sch.compute_inline(sch.get_sblock(name))
    kept = [name for name in names[:-1] if name in block_names(sch)]
    partial = {name: _by_vectors(sch, name, variant) for name in kept if is_reduction(_block(sch, name))}
    *outer, column = sch.get_loops(sch.get_sblock(names[-1]))
    row = sch.fuse(*outer) if len(outer) > 1 else outer[0]
    sch.parallel(row)
    _vectorize(sch, column, variant.lanes)
    for name in reversed(kept):
        block = sch.get_sblock(name)
        sch.compute_at(block, row, preserve_unit_loops=True)
        if name not in partial:
            if len(_extents(sch, name)) == len(outer) + 1:
                _vectorize(sch, sch.get_loops(block)[-1], variant.lanes)
            continue
        for step in reversed(partial[name]):
            sch.compute_at(step, row, preserve_unit_loops=True)
            lane, *_, serial = sch.get_loops(step)[1:]
            sch.reorder(serial, lane)
            sch.vectorize(lane)
            *_, init_lane = sch.get_loops(sch.decompose_reduction(step, serial))
            sch.vectorize(init_lane)
    return sch


def _by_vectors(sch: Any, name: str, variant: Variant) -> list[Any]:
    """Split a reduction into partial ones, element by element of vectors; returns the blocks that come before it."""
    steps = []
    for width in dict.fromkeys((variant.vectors * variant.lanes, _FOLD)):
        *spatial, reduction = sch.get_loops(sch.get_sblock(name))
        _, lane = sch.split(reduction, [None, width])
        steps.append(sch.rfactor(lane, factor_axis=len(spatial)))  # beside each other: a vector
    return steps


def _vectorize(sch: Any, loop: Any, lanes: int) -> None:
    _, lane = sch.split(loop, [None, lanes])
    sch.vectorize(lane)


def _columns(mod: Any) -> int | None:
    """The length of a row, where the function's blocks all go over the same rows, and its reductions over columns."""
    sch = Schedule(mod)
    names = block_names(sch)
    shape = _extents(sch, names[-1])
    if len(names) < 2 or len(shape) < 2 or is_reduction(_block(sch, names[-1])):
        return None
    reductions = [name for name in names if is_reduction(_block(sch, name))]
    fitting = all(_extents(sch, name) in (shape, shape[:-1]) for name in names)
    rows = [n for n in shape[:-1] if isinstance(n, int)]
    if not reductions or not fitting or (len(rows) == len(shape) - 1 and prod(rows) < 2):
        return None
    columns = shape[-1]
    return columns if isinstance(columns, int) and all(_extents(sch, name) == shape for name in reductions) else None


def _block(sch: Any, name: str) -> Any:
    return sch.get(sch.get_sblock(name))


def _extents(sch: Any, name: str) -> list[int | str]:
    """Of a block's axes, the reduction's last; by its name, where one is not known yet."""
    extents = [axis.dom.extent for axis in _block(sch, name).iter_vars]
    return [int(one) if isinstance(one, tirx.IntImm) else str(one) for one in extents]


def _is_kept(sch: Any, name: str) -> bool:
    """Is the block too costly to compute for each of its consumers?"""
    return len(sch.get_consumers(sch.get_sblock(name))) > 1 and operations(_block(sch, name)) >= _COSTLY
