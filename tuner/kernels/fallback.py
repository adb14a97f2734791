"""A plain schedule for kernels without a record: rows in parallel, the innermost axis vectorised.

What "untuned" means in comparisons. TVM's own default would be the bare loop nest, twenty seconds for a BERT-base.
"""

from __future__ import annotations

import contextlib
from typing import Any

import tvm
from tvm import tirx
from tvm.s_tir import Schedule, ScheduleError

_LANES, _ROWS = 16, 8


def schedule_plainly(mod: Any) -> Any:
    """Schedule each function of ``mod`` that has no schedule yet; functions stay correct whatever can't be done."""
    for var, func in mod.functions.items():
        if isinstance(func, tirx.PrimFunc) and not is_scheduled(func):
            mod[var] = plain_schedule(func)
    return mod


def plain_schedule(func: Any) -> Any:
    """One function, scheduled; its attributes are kept."""
    schedule = Schedule(tvm.IRModule({"main": func}))
    root = schedule.get_sblock("root")
    for block in schedule.get_child_blocks(root):
        _inline_if_possible(schedule, block)
    for block in schedule.get_child_blocks(root):
        _schedule_block(schedule, block)
    return schedule.mod["main"].with_attr("tirx.is_scheduled", True)


def is_scheduled(func: Any) -> bool:
    """Has the function a schedule, from a record or by default?"""
    return bool(func.attrs and func.attrs.get("tirx.is_scheduled"))


def _inline_if_possible(schedule: Any, block: Any) -> None:
    """Inline a block without reduction into its consumers; the result's own block stays."""
    if all(it.iter_type == tirx.IterVar.DataPar for it in schedule.get(block).iter_vars):
        with contextlib.suppress(ScheduleError):
            schedule.compute_inline(block)


def _schedule_block(schedule: Any, block: Any) -> None:
    """Tile the last two spatial axes into a small block of rows by vectors, reductions between, the rest parallel."""
    loops = schedule.get_loops(block)
    kinds = [it.iter_type for it in schedule.get(block).iter_vars]
    if len(loops) != len(kinds):
        return
    outer = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == tirx.IterVar.DataPar]
    reduction = [loop for loop, kind in zip(loops, kinds, strict=True) if kind != tirx.IterVar.DataPar]
    if not outer:
        return
    inner = []
    if len(outer) > 1 and (lanes := _divisor(schedule, outer[-1], _LANES)) > 1:
        outer[-1], vector = schedule.split(outer[-1], [None, lanes])
        if reduction and (rows := _divisor(schedule, outer[-2], _ROWS)) > 1:
            outer[-2], row = schedule.split(outer[-2], [None, rows])
            inner.append(row)
        inner.append(vector)
    schedule.reorder(*outer, *reduction, *inner)
    if inner:
        schedule.vectorize(inner[-1])
        for loop in inner[:-1]:
            schedule.unroll(loop)
    schedule.parallel(schedule.fuse(*outer) if len(outer) > 1 else outer[0])
    if reduction and inner:
        schedule.decompose_reduction(block, reduction[0])


def _divisor(schedule: Any, loop: Any, wanted: int) -> int:
    """The largest of ``wanted``, half of it, ... that divides the loop's extent."""
    extent = schedule.get(loop).extent
    if not isinstance(extent, tirx.IntImm):  # known only when it runs
        return 1
    extent = int(extent)
    while extent % wanted:
        wanted //= 2
    return wanted
