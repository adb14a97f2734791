"""Which schedules TVM can't generate Metal for, so that they are never proposed.

Where only vectors are stored into an array in threadgroup memory, TVM 0.27 makes it an array of vectors, and of each
scalar read the extraction of one lane. It does so when the reads' stride is a multiple of the lanes, but then fails
unless it is equal to them (``VectorTypeRewriter``: "info.factor() % me->coeff == 0"). That happens where loops are
unrolled, to a quarter of what is sampled for a product, and shows in the schedule, long before the build.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import gcd, prod
from typing import Any

from tvm import sym, tirx
from tvm.ir import Range
from tvm.ir.utils import derived_object
from tvm.s_tir.meta_schedule import postproc as post

_UNROLL, _EXPLICIT = "pragma_auto_unroll_max_step", "pragma_unroll_explicit"


@derived_object
class LanesAreReadable(post.PyPostproc):
    """Refuses what would fail to build; to run when loops are vectorised and their unrolling is decided."""

    def _initialize_with_tune_context(self, context: Any) -> None:
        """Nothing to learn from it: all is in the schedule."""

    def apply(self, sch: Any) -> bool:
        return lanes_are_readable(sch)

    def clone(self) -> Any:
        return LanesAreReadable()


def lanes_are_readable(sch: Any) -> bool:
    """Can TVM tell the lane of each scalar read, or does it not try to, in every array that vectors fill?"""
    return all(
        stride % lanes or stride in (0, lanes)
        for fetch, lanes in _vector_fetches(sch)
        for reader in sch.get_consumers(fetch)
        for stride in _strides(sch, fetch, reader)
    )


def _vector_fetches(sch: Any) -> Iterator[tuple[Any, int]]:
    """Blocks that fill threadgroup memory by vectors, with the number of lanes."""
    for block in sch.get_child_blocks(sch.get_sblock("root")):
        loops = sch.get_loops(block)
        if not loops or sch.get(block).writes[0].source.scope() != "shared":
            continue
        innermost = sch.get(loops[-1])
        if innermost.kind == tirx.ForKind.VECTORIZED:
            yield block, int(innermost.extent)


def _strides(sch: Any, fetch: Any, reader: Any) -> Iterator[int]:
    """What the place of each read in the array is known to be a multiple of; 0 where it never changes.

    The array holds the slice that the loops around both blocks chose: these count as fixed, as do unrolled loops.
    """
    loops = [sch.get(loop) for loop in sch.get_loops(reader)]
    shared = {sch.get(loop).loop_var for loop in sch.get_loops(fetch)}
    chosen = {loop.loop_var for loop in loops if loop.loop_var in shared and not _tag(loop).startswith("threadIdx")}
    unrolled = _unrolled(loops)
    extents, changes = sym.Analyzer(), sym.Analyzer()
    for loop in loops:
        extents.bind(loop.loop_var, loop.min if loop.loop_var in chosen else Range(loop.min, loop.extent))
        if loop.loop_var in chosen | unrolled:
            changes.bind(loop.loop_var, loop.min)
    realized = loops[-1].body
    for axis, value in zip(realized.block.iter_vars, realized.iter_values, strict=True):
        extents.bind(axis.var, value)
        changes.bind(axis.var, value)
    array = sch.get(fetch).writes[0].source
    for read in realized.block.reads:
        if read.source.same_as(array):
            yield _stride([axis.min for axis in read.region], extents, changes)


def _stride(indices: list[Any], extents: Any, changes: Any) -> int:
    """The same for one read, of a slice that lies in memory row by row."""
    stride, row = 0, 1
    for index in reversed(indices):
        stride = gcd(stride, int(changes.modular_set(index).coeff) * row)
        bound = extents.const_int_bound(index)
        row *= int(bound.max_value) - int(bound.min_value) + 1
    return stride


def _unrolled(loops: list[Any]) -> set[Any]:
    """Variables of the loops that ``UnrollLoop`` takes apart: from the innermost on, as long as steps are few enough.

    A step is a store, and each virtual thread has one of its own. What is not explicit is left to Metal's compiler.
    """
    marks = [loop.annotations for loop in loops if _UNROLL in loop.annotations]
    most = int(marks[0][_UNROLL]) if marks and int(marks[0].get(_EXPLICIT, 1)) else 0
    steps = prod(int(loop.extent) for loop in loops if _tag(loop) == "vthread.x")
    found: set[Any] = set()
    for loop in reversed(loops):
        steps *= int(loop.extent)
        if loop.thread_binding is not None or steps > most:
            return found
        found.add(loop.loop_var)
    return found


def _tag(loop: Any) -> str:
    """What a loop is bound to, empty for ordinary loops."""
    return str(loop.thread_binding.thread_tag) if loop.thread_binding is not None else ""
