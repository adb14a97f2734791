"""Finds the product of rows with a constant in a kernel, and what the kernel computes of each sum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import tirx
from tvm.s_tir import Schedule

from tuner.kernels.blocks import block_names, is_reduction, layout_free
from tuner.kernels.expressions import moved


@dataclass(frozen=True)
class RowProduct:
    """``(rows, depth)`` times a constant ``(depth, columns)``, and what is computed of each sum.

    ``arguments`` are the function's buffers in order, ``left`` and ``constant`` among them the operands; ``follow``
    makes the element of the result at a row and column out of its sum.
    """

    arguments: list[Any]
    left: int
    constant: int
    depth: int
    columns: int
    follow: Callable[[Any, Any, Any, list[Any]], Any]


def find(mod: Any) -> RowProduct | None:
    """The product of rows with a constant in a module's function; None where there is none."""
    function = mod["main"]
    arguments = list(function.params)
    out = arguments[-1]
    if len(out.shape) != 2 or not isinstance(out.shape[1], tirx.IntImm):
        return None
    schedule = Schedule(mod)
    names = block_names(schedule)
    reductions = [name for name in names if is_reduction(schedule.get(schedule.get_sblock(name)))]
    if len(reductions) != 1:
        return None
    inlined = _with_one_follower(schedule, names, reductions[0])
    return inlined and _described(function, arguments, *inlined)


def _with_one_follower(schedule: Any, names: list[str], reduction: str) -> tuple[Any, Any] | None:
    """The product's block and the block of all that follows it, None where there is none."""
    place = names.index(reduction)
    try:
        for name in [*names[:place], *names[place + 1 : -1]]:
            schedule.compute_inline(schedule.get_sblock(name))
    except tvm.s_tir.ScheduleError:
        return None
    follower = schedule.get(schedule.get_sblock(names[-1])) if names[-1] != reduction else None
    return schedule.get(schedule.get_sblock(reduction)), follower


def _described(function: Any, arguments: list[Any], reduction: Any, follower: Any) -> RowProduct | None:
    spatial = [axis for axis in reduction.iter_vars if axis.iter_type == tirx.IterVar.DataPar]
    (step,) = (axis for axis in reduction.iter_vars if axis.iter_type != tirx.IterVar.DataPar)
    reads = [_place(region.source, arguments) for region in reduction.reads]
    constants = layout_free(function)
    if len(spatial) != 2 or len(reads) != 2 or None in reads or (reads[0] in constants) == (reads[1] in constants):
        return None
    left, constant = reads if reads[1] in constants else reads[::-1]
    assert left is not None
    assert constant is not None
    depth, columns = int(step.dom.extent), int(spatial[1].dom.extent)
    shape = arguments[constant].shape
    if len(arguments[left].shape) != 2 or [int(extent) for extent in shape] != [depth, columns]:
        return None
    sums = reduction.writes[0].source

    def follow(total: Any, row: Any, column: Any, buffers: list[Any]) -> Any:
        if follower is None:
            return total
        at = dict(zip([str(axis.var.name) for axis in follower.iter_vars], (row, column), strict=True))

        def load(buffer: Any, indices: list[Any]) -> Any:
            place = _place(buffer, arguments)
            if place is None:
                assert buffer.same_as(sums)
                return total
            return buffers[place][tuple(indices)]

        return moved(follower.body.value, at, load)

    return RowProduct(arguments, left, constant, depth, columns, follow)


def _place(buffer: Any, arguments: list[Any]) -> int | None:
    """Which of the arguments a buffer is; fusion gives two the same name at times."""
    return next((n for n, one in enumerate(arguments) if one.same_as(buffer)), None)
