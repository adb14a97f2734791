"""Which kernel an expression of a model's ``main`` calls."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax


def kernel_called(expr: Any) -> str:
    """The name of the kernel that a call is of; empty for what calls none."""
    is_call = isinstance(expr, relax.Call) and isinstance(expr.op, tvm.ir.Op) and expr.op.name == "relax.call_tir"
    return str(expr.args[0].name_hint) if is_call else ""


def types_given(call: Any) -> list[Any]:
    """The types of what a call of a kernel gives, one for each result."""
    (given,) = call.ty_args
    return list(given.fields) if isinstance(given, tvm.ir.TupleType) else [given]
