"""Expressions of kernels: what they are made of, and one of a kernel made that of another, which reads elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

_OPERANDS = ("a", "b", "value", "condition", "true_value", "false_value")


def moved(expression: Any, variables: Mapping[str, Any], load: Callable[[Any, list[Any]], Any]) -> Any:
    """The expression with ``variables``, by name, replaced, and what ``load`` gives for each buffer and indices read.

    What occurs more than once is made once. Raises ValueError at an expression that no kernel of a model has.
    """
    made: dict[int, Any] = {}

    def move(one: Any) -> Any:
        key = tvm_ffi.structural_hash(one)
        if key not in made:
            made[key] = moved_anew(one)
        return made[key]

    def moved_anew(one: Any) -> Any:
        if isinstance(one, tirx.IntImm | tirx.FloatImm):
            return one
        if isinstance(one, tirx.Var):
            return variables[str(one.name)]
        if isinstance(one, tvm.ir.TensorLoad):
            return load(one.source, [move(index) for index in one.indices])
        if isinstance(one, tvm.ir.Call):
            return tvm.ir.Call(one.op, [move(argument) for argument in one.args], ret_ty=one.ty)
        if isinstance(one, tirx.Cast):
            return tirx.Cast(str(one.ty), move(one.value))
        if isinstance(one, tirx.Select):
            return tirx.Select(move(one.condition), move(one.true_value), move(one.false_value))
        if hasattr(one, "a") and hasattr(one, "b"):
            left, right = move(one.a), move(one.b)
            if isinstance(right, tirx.IntImm) and str(right.ty) != str(left.ty):  # indices need not be of one type
                right = tirx.IntImm(str(left.ty), int(right))
            return type(one)(left, right)
        raise ValueError(f"{type(one).__name__} can't be part of what follows a product")

    return move(expression)


def distinct(expr: Any) -> Iterator[Any]:
    """An expression and all it is made of, what is equal once. Indices of loads are no part of it."""
    seen: set[int] = set()
    waiting = [expr]
    while waiting:
        one = waiting.pop()
        key = tvm_ffi.structural_hash(one)
        if key in seen:
            continue
        seen.add(key)
        yield one
        operands = one.args if isinstance(one, tvm.ir.Call) else [getattr(one, name, None) for name in _OPERANDS]
        waiting.extend(operand for operand in operands if isinstance(operand, tvm.ir.Expr))
