"""Finds the product of rows with a constant in a kernel, and what the kernel computes of each sum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import tirx
from tvm.s_tir import Schedule

from tuner.kernels.blocks import block_names, is_reduction, layout_free
from tuner.kernels.expressions import distinct, moved


@dataclass(frozen=True)
class RowProduct:
    """``(rows, depth)`` times a constant ``(depth, columns)``, and what is computed of the sums.

    ``arguments`` are the function's buffers in order, ``left`` and ``constant`` among them the operands; ``follow``
    makes the element of the result at a row and column out of its sums: one, or where the constant's columns are
    several ``parts`` side by side, as those of a gate and of what it lets through, one of each.
    """

    arguments: list[Any]
    left: int
    constant: int
    depth: int
    columns: int
    follow: Callable[[Sequence[Any], Any, Any, list[Any]], Any]
    parts: int = 1

    @property
    def out_columns(self) -> int:
        """Columns of the result, and of each part of the constant."""
        return self.columns // self.parts

    @property
    def rows(self) -> Any:
        """Their number, or a variable where it is known only when the kernel runs."""
        return self.arguments[-1].shape[0]

    @property
    def is_float32(self) -> bool:
        """Are both operands and the result?"""
        used = (self.arguments[self.left], self.arguments[self.constant], self.arguments[-1])
        return all(str(one.dtype) == "float32" for one in used)


def find(mod: Any) -> RowProduct | None:
    """The product of rows with a constant in a module's function; None where there is none."""
    function = mod["main"]
    arguments = list(function.params)
    out = arguments[-1]
    if len(out.shape) != 2 or not isinstance(out.shape[1], tirx.IntImm) or not layout_free(function):
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
    steps = [axis for axis in reduction.iter_vars if axis.iter_type != tirx.IterVar.DataPar]
    reads = [_place(region.source, arguments) for region in reduction.reads]
    constants = layout_free(function)
    if len(spatial) != 2 or len(reads) != 2 or None in reads or (reads[0] in constants) == (reads[1] in constants):
        return None
    if len(steps) != 1 or not _adds_products(reduction.body.value):
        return None
    left, constant = reads if reads[1] in constants else reads[::-1]
    assert left is not None
    assert constant is not None
    (step,) = steps
    depth, columns = int(step.dom.extent), int(spatial[1].dom.extent)
    read_left, read_constant = (reduction.reads[reads.index(place)] for place in (left, constant))
    row, column = (axis.var for axis in spatial)
    shape = [int(extent) for extent in arguments[constant].shape]
    if not _is_at(read_left, row, step.var) or not _is_at(read_constant, step.var, column) or shape != [depth, columns]:
        return None
    sums = reduction.writes[0].source
    width = int(arguments[-1].shape[1])
    if columns % width or (follower is not None and not _follows(follower, sums, width)):
        return None

    def follow(totals: Sequence[Any], row: Any, column: Any, buffers: list[Any]) -> Any:
        if follower is None:
            return totals[0]
        at = dict(zip([str(axis.var.name) for axis in follower.iter_vars], (row, column), strict=True))

        def load(buffer: Any, indices: list[Any]) -> Any:
            place = _place(buffer, arguments)
            if place is None:
                assert buffer.same_as(sums)
                return totals[0 if indices[1].same_as(column) else int(indices[1].b) // width]
            return buffers[place][tuple(indices)]

        return moved(follower.body.value, at, load)

    return RowProduct(arguments, left, constant, depth, columns, follow, columns // width)


def _adds_products(value: Any) -> bool:
    """Is a value a sum and a product of two elements, in whatever types?"""
    if not isinstance(value, tirx.Add) or not isinstance(value.b, tirx.Mul):
        return False
    factors = [one.value if isinstance(one, tirx.Cast) else one for one in (value.b.a, value.b.b)]
    return all(map(_is_load, factors))


def _follows(follower: Any, sums: Any, width: int) -> bool:
    """Is a block computed of the sums where they are: at its own row and column, or whole widths of the result further
    on?"""
    if len(follower.iter_vars) != 2 or not isinstance(follower.body, tirx.BufferStore):
        return False
    row, column = (axis.var for axis in follower.iter_vars)

    def is_own(load: Any) -> bool:
        at = load.indices[1]
        beyond = isinstance(at, tirx.Add) and at.a.same_as(column) and isinstance(at.b, tirx.IntImm)
        return load.indices[0].same_as(row) and (at.same_as(column) or (beyond and int(at.b) % width == 0))

    reads = [one for one in distinct(follower.body.value) if _is_load(one) and one.source.same_as(sums)]
    return all(map(is_own, reads)) and all(_is_at(region, row, column) for region in follower.writes)


def _is_load(one: Any) -> bool:
    return isinstance(one, tvm.ir.TensorLoad)


def _is_at(region: Any, *axes: Any) -> bool:
    """Is what is read of a buffer the element at these axes?"""
    return len(region.region) == len(axes) and all(
        one.min.same_as(axis) for one, axis in zip(region.region, axes, strict=True)
    )


def _place(buffer: Any, arguments: list[Any]) -> int | None:
    """Which of the arguments a buffer is; fusion gives two the same name at times."""
    return next((n for n, one in enumerate(arguments) if one.same_as(buffer)), None)
