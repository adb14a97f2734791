"""Transpositions (the keys of attention): small blocks, each read as vectors of rows and written as vectors of columns.

LLVM makes a block of registers out of one whose both axes are unrolled, which takes an eighth of the plain schedule's
time (keys of BERT-base at 128 tokens, two Zen 4 cores): that one gathers each vector of the result value by value.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from tvm import tirx
from tvm.s_tir import Schedule

from tuner.kernels.blocks import block_names, is_reduction
from tuner.kernels.context import NO_SCHEDULE
from tuner.kernels.products import cpu_of

_BLOCKS = (1.0, 0.5, 2.0)  # columns of the result, in vectors


def schedules(mod: Any, target: Any) -> list[Any]:
    """The schedules there are for a module's function ``main``, none where it is no transposition."""
    if target.kind.name != "llvm" or (axis := _read_along(mod)) is None:
        return []
    found = []
    for vectors in _BLOCKS:
        with suppress(*NO_SCHEDULE):
            found.append(_schedule(mod, axis, cpu_of(target).lanes, vectors))
    return [one for one in found if one is not None]


def _schedule(mod: Any, axis: int, lanes: int, vectors: float) -> Any | None:
    sch = Schedule(mod)
    loops = sch.get_loops(sch.get_sblock(block_names(sch)[0]))
    read, written = loops[axis], loops[-1]
    sizes = [lanes, int(lanes * vectors)]
    if any(int(sch.get(loop).extent) % size for loop, size in zip((read, written), sizes, strict=True)):
        return None
    outer = [loop for n, loop in enumerate(loops[:-1]) if n != axis]
    read_outer, read_inner = sch.split(read, [None, sizes[0]])
    written_outer, written_inner = sch.split(written, [None, sizes[1]])
    sch.reorder(*outer, read_outer, written_outer, written_inner, read_inner)
    sch.parallel(sch.fuse(*outer) if len(outer) > 1 else (outer or [read_outer])[0])
    sch.unroll(written_inner)
    sch.vectorize(read_inner)
    return sch


def _read_along(mod: Any) -> int | None:
    """The axis of the result along which the argument's last one goes, if that is another than the result's last; None
    where the function is no such copy of one argument."""
    sch = Schedule(mod)
    names = block_names(sch)
    block = sch.get(sch.get_sblock(names[0]))
    if len(names) != 1 or is_reduction(block) or len(block.reads) != 1:
        return None
    if not all(isinstance(axis.dom.extent, tirx.IntImm) for axis in block.iter_vars):
        return None
    axes = [str(axis.var.name) for axis in block.iter_vars]
    last = {str(var.name) for var in tirx.analysis.undefined_vars(block.reads[0].region[-1].min)}
    within = [n for n, name in enumerate(axes) if name in last]
    return within[-1] if within and within[-1] != len(axes) - 1 else None
