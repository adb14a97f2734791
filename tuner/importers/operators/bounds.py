"""That an operator of a user's ends, and touches nothing but its own tensors: proven before it is run.

What ``allowed`` lets through are loops of constant extents around stores. Here each index is shown to lie within its
tensor, whatever the data are: by interval and modular arithmetic, under the conditions that guard it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from tvm import tirx
from tvm.ir import Call, Range, TensorLoad, Var
from tvm.ir import prim as ir_prim
from tvm.s_tir import SBlockRealize
from tvm.s_tir.analysis import get_sblock_read_write_region
from tvm.sym import Analyzer
from tvm.tirx import BufferStore, For, SeqStmt

from tuner.errors import ModelInvalid

MAX_STEPS = 30_000_000_000  # executions of a store; an unscheduled build does some hundred million a second
MAX_BYTES = 512 * 1024**2  # of all tensors together
_HINT = "Write it as te.create_prim_func makes it: loops of fixed extents, indices that can't leave their tensors."
_WIDTHS = {"int32": 31, "int64": 63}
_DIVISIONS = ("Div", "Mod", "FloorDiv", "FloorMod")


class _Refused(Exception):
    """Why, as the end of a sentence."""


class _OutOfBounds(_Refused):
    """A value is not within what is meant."""


def check(name: str, func: Any) -> None:
    """Raise ModelInvalid unless the PrimFunc of the operator ``name`` ends in time and stays within its tensors."""
    try:
        _Walk(func).check()
    except _Refused as reason:
        raise ModelInvalid(f"The operator {name} {reason}.", _HINT) from None


class _Walk:
    def __init__(self, func: Any) -> None:
        self._func = func
        self._tensors = {param: param for param in func.params}
        self._steps = 0
        self._bytes = sum(_bytes_of(param) for param in func.params)

    def check(self) -> None:
        self._statement(self._func.body, Analyzer(), 1)
        if self._bytes > MAX_BYTES:
            raise _Refused(
                f"has tensors of {self._bytes / 2**20:,.0f} MiB, at most {MAX_BYTES // 2**20} MiB are allowed"
            )
        if self._steps > MAX_STEPS:
            raise _Refused(f"takes {self._steps:.1e} steps, at most {MAX_STEPS:.0e} are allowed")

    def _statement(self, node: Any, known: Any, times: int) -> None:
        match node:
            case SBlockRealize():
                self._block(node, known, times)
            case For():
                extent = _constant(node.extent)
                if _constant(node.min) != 0 or extent < 1:
                    raise _Refused("has a loop that does not count up from 0")
                known.bind(node.loop_var, Range.from_min_extent(node.min, node.extent))
                self._statement(node.body, known, times * extent)
            case SeqStmt():
                for one in node.seq:
                    self._statement(one, known, times)
            case BufferStore():
                self._steps += times
                self._access(node.buffer, node.indices, known)
                self._expression(node.value, known)
            case _:
                raise _Refused(f"has a {type(node).__name__} among its statements")

    def _block(self, realize: Any, known: Any, times: int) -> None:
        block = realize.block
        if _constant(realize.predicate) != 1:
            raise _Refused("has a block with a condition")
        for axis, value in zip(block.iter_vars, realize.iter_values, strict=True):
            self._within(value, axis.dom.min, axis.dom.min + axis.dom.extent, known)
        for axis in block.iter_vars:
            known.bind(axis.var, axis.dom)
        for tensor in block.alloc_buffers:
            self._tensors[tensor] = tensor
            self._bytes += _bytes_of(tensor)
        if block.init is not None:
            self._statement(block.init, known, times)
        self._statement(block.body, known, times)
        if block.iter_vars:  # the one around all of them says nothing of what it touches
            self._check_regions(block, known)

    def _check_regions(self, block: Any, known: Any) -> None:
        """A schedule sizes memory by what blocks say that they touch: it must be what they do touch."""
        found = get_sblock_read_write_region(block, self._tensors)
        for said, done in zip((block.reads, block.writes), found, strict=True):
            for region in done:
                if not any(_covers(one, region, known) for one in said):
                    raise _Refused(f"has a block that touches more of {region.source.name} than it says")

    def _expression(self, node: Any, known: Any) -> None:
        if isinstance(node, TensorLoad):
            self._access(node.source, node.indices, known)
        elif isinstance(node, Call) and str(node.op.name).endswith("if_then_else"):
            condition, then, otherwise = node.args
            self._expression(condition, known)
            with known.constraint_scope(condition):
                self._expression(then, known)
            with known.constraint_scope(known.rewrite_simplify(tirx.Not(condition))):
                self._expression(otherwise, known)
        elif isinstance(node, ir_prim.Let):
            self._expression(node.value, known)
            if _width(node.value) is not None:
                known.bind(node.var, node.value)
            self._expression(node.body, known)
        else:
            self._check_division(node)
            for part in _parts(node):
                self._expression(part, known)
        if (width := _width(node)) is not None:
            bound = known.const_int_bound(node)
            if not -(2**width) <= int(bound.min_value) <= int(bound.max_value) < 2**width - (width == 63):
                raise _Refused("computes an index that may overflow")

    def _check_division(self, node: Any) -> None:
        if type(node).__name__ in _DIVISIONS and _width(node) is not None and _constant(node.b) < 1:
            raise _Refused("divides an index by what may be zero")

    def _access(self, tensor: Any, indices: Any, known: Any) -> None:
        if tensor not in self._tensors:
            raise _Refused(f"touches {getattr(tensor, 'name', 'a tensor')}, which is none of its tensors")
        shape = list(tensor.shape)
        if len(indices) != len(shape):
            raise _Refused(f"indexes {tensor.name} by {len(indices)} of {len(shape)} dimensions")
        for index, extent in zip(indices, shape, strict=True):
            try:
                self._within(index, 0, extent, known)
            except _OutOfBounds:
                raise _Refused(f"may touch {tensor.name} out of its bounds, at {index} of {extent}") from None

    def _within(self, value: Any, low: Any, high: Any, known: Any) -> None:
        if _width(value) is None:
            raise _Refused("has an index that is no integer")
        self._expression(value, known)
        if not (known.can_prove(value >= low) and known.can_prove(value < high)):
            raise _OutOfBounds("has a block whose axes leave their extents")


def _covers(said: Any, done: Any, known: Any) -> bool:
    if said.source != done.source:
        return False
    return all(
        known.can_prove(one.min <= other.min) and known.can_prove(one.min + one.extent >= other.min + other.extent)
        for one, other in zip(said.region, done.region, strict=True)
    )


def _parts(node: Any) -> Iterator[Any]:
    """The expressions that an expression is made of."""
    match node:
        case Var() | tirx.IntImm() | tirx.FloatImm():
            return
        case Call():
            yield from node.args
        case ir_prim.Cast():
            yield node.value
        case ir_prim.Not():
            yield node.a
        case ir_prim.Select():
            yield from (node.condition, node.true_value, node.false_value)
        case _ if hasattr(node, "a") and hasattr(node, "b"):
            yield from (node.a, node.b)
        case _:
            raise _Refused(f"has a {type(node).__name__} in an expression")


def _width(node: Any) -> int | None:
    """Bits of an integer without its sign; None for what is no integer."""
    return _WIDTHS.get(str(node.ty.dtype)) if hasattr(node.ty, "dtype") else None


def _constant(node: Any) -> int:
    if not isinstance(node, tirx.IntImm):
        raise _Refused("has an extent, a condition or a divisor that is no constant")
    return int(node.value)


def _bytes_of(tensor: Any) -> int:
    extents = [_constant(extent) for extent in tensor.shape]
    if min(extents, default=1) < 1:
        raise _Refused(f"has a tensor {tensor.name} without elements")
    return 4 * math.prod(extents)
