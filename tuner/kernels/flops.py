"""How many floating-point operations a kernel takes."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import tvm
from tvm import tirx
from tvm.s_tir import SBlockRealize
from tvm.s_tir.analysis import estimate_tir_flops

from tuner.graph.attention_kernel import attention_of
from tuner.kernels.expressions import distinct
from tuner.kernels.extents import nominal
from tuner.lengths import NOMINAL

_ARITHMETIC = (tirx.Add, tirx.Sub, tirx.Mul, tirx.Div, tirx.Min, tirx.Max)
_NO_ARITHMETIC = {"tirx.reinterpret", "prim.if_then_else"}
_OF_EXTENTS: dict[Any, Callable[[int, int], int]] = {
    tirx.Add: operator.add,
    tirx.Sub: operator.sub,
    tirx.Mul: operator.mul,
    tirx.FloorDiv: operator.floordiv,
    tirx.Min: min,
    tirx.Max: max,
}


def flops_of(func: Any) -> float:
    """Floating-point operations of one launch of an unscheduled function, each distinct one of an element once; of one
    text of ``NOMINAL`` tokens, where lengths vary.

    TVM's ``estimate_tir_flops`` counts an operand as often as it is used, and a polynomial like ``fast_exp``'s uses its
    argument at each power: 89 operations for a softmax's 28, which then ran at twice the peak.
    """
    if (attention := attention_of(func)) is not None:
        return attention.flops_of(1, NOMINAL) if attention.ragged else attention.flops
    return _of_statement(func.body, nominal(func))


def _of_statement(statement: Any, known: Mapping[str, int]) -> float:
    match statement:
        case tirx.For():
            return _times(statement.extent, known) * _of_statement(statement.body, known)
        case tirx.SeqStmt():
            return sum(_of_statement(one, known) for one in statement.seq)
        case SBlockRealize():
            return _of_statement(statement.block.body, known)
        case tirx.BufferStore():
            return float(sum(map(_is_operation, distinct(statement.value))))
    return float(estimate_tir_flops(statement))


def _times(extent: Any, known: Mapping[str, int]) -> int:
    """How often a loop runs; one whose end only the texts tell, as often as a text has tokens."""
    if isinstance(extent, tirx.IntImm):
        return int(extent)
    if (value := known.get(str(extent))) is not None:
        return value
    operation = next((compute for kind, compute in _OF_EXTENTS.items() if isinstance(extent, kind)), None)
    return NOMINAL if operation is None else operation(_times(extent.a, known), _times(extent.b, known))


def _is_operation(expr: Any) -> bool:
    if not str(expr.ty).startswith(("float", "bfloat")):
        return False
    return isinstance(expr, _ARITHMETIC) or (isinstance(expr, tvm.ir.Call) and expr.op.name not in _NO_ARITHMETIC)
