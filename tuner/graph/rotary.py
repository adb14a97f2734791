"""Rotary positions: one kernel turns the queries, or the keys, of all heads where their projection left them.

Exported, a rotation is two slices, a negation, a join, two products and a sum over transposed heads, behind a copy that
takes the projection apart: indices that no loop vectorises. Here rows stay rows, and the projection is read where it
lies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import relax, te, tirx
from tvm.relax.expr_functor import PyExprMutator, mutator

from tuner.graph.attention_kernel import OPAQUE
from tuner.graph.rewriting import ending_with, rewritten
from tuner.graph.rows import flatten_rows, shape_of
from tuner.graph.uses import Uses, either_way, op_name

_HEADS_FIRST = [0, 2, 1, 3]


@dataclass(frozen=True)
class _Rotation:
    """Columns from ``start`` on of the ``source`` ``(rows, width)``, turned by ``cos`` and ``sin``, both ``(1, 1, seq,
    dim)``; ``last`` is the call whose result ``(batch, heads, seq, dim)`` it is."""

    source: Any
    start: int
    cos: Any
    sin: Any
    last: Any


def fold_rotations(mod: Any) -> Any:
    """Rewrite ``main`` so that each rotation is a kernel."""
    rewriter = _Rewriter(mod)
    return flatten_rows(rewritten(mod, rewriter)) if rewriter.rotations else mod


def _rotation(call: Any, uses: Uses) -> _Rotation | None:
    """What a sum is the last part of: ``x * cos + turned(x) * sin``."""
    for one, other in either_way(call):
        plain, turned = uses.value_of(one), uses.value_of(other)
        if op_name(plain) != "multiply" or op_name(turned) != "multiply":
            continue
        for (x, cos), (joined, sin) in ((a, b) for a in either_way(plain) for b in either_way(turned)):
            if _is_turned(uses.value_of(joined), x, uses) and (found := _columns(x, uses)) is not None:
                _, _, seq, dim = shape_of(x) or ()
                if {shape_of(cos), shape_of(sin)} == {(1, 1, seq, dim)}:
                    return _Rotation(*found, cos, sin, call)
    return None


def _is_turned(joined: Any, x: Any, uses: Uses) -> bool:
    """Is it the second half of the last axis of ``x``, negated, and then the first?"""
    shape = shape_of(x)
    if op_name(joined) != "concat" or shape is None or len(shape) != 4:
        return False
    if not all(isinstance(extent, int) for extent in shape) or shape[3] % 2:
        return False
    halves = uses.value_of(joined.args[0])
    if not isinstance(halves, relax.Tuple) or len(halves.fields) != 2 or int(joined.attrs.axis) not in (-1, 3):
        return False
    negated, first = (uses.value_of(one) for one in halves.fields)
    if op_name(negated) != "negative":
        return False
    second = uses.value_of(negated.args[0])
    return _is_slice(second, x, shape[3] // 2) and _is_slice(first, x, 0) and shape_of(first) == shape_of(second)


def _is_slice(call: Any, x: Any, begin: int) -> bool:
    """Does a call take half of the last axis of ``x``, from there on?"""
    if op_name(call) != "strided_slice" or not call.args[0].same_as(x):
        return False
    axes, begins = ([int(one.value) for one in argument.fields] for argument in call.args[1:3])
    whole, half = shape_of(x) or (), shape_of(call) or ()
    return axes in ([-1], [3]) and begins == [begin] and half == (*whole[:3], whole[3] // 2)


def _columns(x: Any, uses: Uses) -> tuple[Any, int] | None:
    """The tensor that ``x``, heads before rows, is columns of, and the first of these."""
    moved = uses.value_of(x)
    if op_name(moved) != "permute_dims" or [int(axis) for axis in moved.attrs.axes or ()] != _HEADS_FIRST:
        return None
    shaped = uses.value_of(moved.args[0])
    if op_name(shaped) != "reshape":
        return None
    (batch, seq, heads, dim), rows = shape_of(shaped) or (), shaped.args[0]
    if shape_of(rows) != (batch * seq, heads * dim):
        return None
    item = uses.value_of(rows)
    split: Any = uses.value_of(item.tuple_value) if isinstance(item, relax.TupleGetItem) else None
    if op_name(split) != "split" or int(split.attrs.axis) not in (-1, 1):
        return rows, 0
    widths = [int(field.shape[1]) for field in split.ty.fields]
    return split.args[0], sum(widths[: int(item.index)])


def _kernel(start: int, heads: int, seq: int, dim: int) -> Any:
    half = dim // 2

    def rotated(source: Any, cos: Any, sin: Any) -> Any:
        def turned(i: Any, j: Any) -> Any:  # of whole vectors of a half, all indices are those of neighbours
            head, place = j // dim * dim, (0, 0, i % seq, j % dim)
            sign = tirx.Cast("float32", j % dim // half * 2 - 1)
            return source[i, start + j] * cos[place] + source[i, start + head + (j + half) % dim] * (sign * sin[place])

        return te.compute((source.shape[0], heads * dim), turned, name="rotated")

    return rotated


@mutator
class _Rewriter(PyExprMutator):
    def __init__(self, mod: Any) -> None:
        super().__init__(mod)
        uses = Uses(mod["main"])
        sums = (binding.value for binding in uses.bindings if op_name(binding.value) == "add")
        self.rotations = [one for call in sums if (one := _rotation(call, uses)) is not None]

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        found = ending_with(call, self.rotations)
        if found is None:
            return super().visit_call_(call)
        batch, heads, seq, dim = shape_of(call) or ()
        arguments = [self.visit_expr(one) for one in (found.source, found.cos, found.sin)]
        kernel = _kernel(found.start, heads, seq, dim)
        opaque = {"op_pattern": OPAQUE}  # what takes it is scheduled better by itself
        rows = self.builder_.emit_te(kernel, *arguments, primfunc_name_hint="rotated", primfunc_attrs=opaque)
        shaped = self.builder_.emit(relax.op.reshape(rows, (batch, seq, heads, dim)))
        return relax.op.permute_dims(shaped, _HEADS_FIRST)
