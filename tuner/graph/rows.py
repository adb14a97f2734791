"""Makes activations two-dimensional: ``(batch, seq, hidden)`` becomes ``(rows, hidden)``, from first operator to last.

A projection then is one plain GEMM whatever the batch, its bias, activation and residual fuse into it (a reshape
between them would stop operator fusion), and models that share a GEMM share its records.
"""

from __future__ import annotations

from math import prod
from typing import Any

import tvm_ffi
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from tuner.graph.rewriting import rewritten
from tuner.graph.uses import op_name

# Operators that treat each row by itself, so that merging the leading axes changes nothing.
_UNARY = {
    "nn.gelu",
    "nn.gelu_tanh",
    "nn.relu",
    "nn.silu",
    "tanh",
    "sigmoid",
    "erf",
    "exp",
    "sqrt",
}
_BINARY = {"add", "multiply", "subtract", "divide"}


def shape_of(expr: Any) -> tuple[Any, ...] | None:
    """The shape of a tensor expression, integers where extents are known and expressions else; None: no tensor."""
    type_ = expr.ty
    if not isinstance(type_, relax.TensorType) or type_.shape is None:
        return None
    dims = list(type_.shape.values if hasattr(type_.shape, "values") else type_.shape)
    return tuple(int(d) if hasattr(d, "value") else d for d in dims)


def same(one: Any, other: Any) -> bool:
    """Are two shapes, or extents of them, the same for all numbers of rows?"""
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, int) or isinstance(other, int):
        return isinstance(one, int) and isinstance(other, int) and one == other
    return bool(tvm_ffi.structural_equal(one, other))


@mutator
class _FlattenRows(PyExprMutator):
    """Pushes reshapes from ``(rows, n)`` down through row-wise operators and lets neighbours cancel."""

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = super().visit_call_(call)
        name = op_name(call)
        if name == "reshape":
            return self._reshape(call.args[0], shape_of(call), call)
        if name == "expand_dims":
            return self._expanded(call)
        if name == "permute_dims":
            return self._permute(call)
        if name == "matmul":
            return self._matmul(call)
        if name in _UNARY:
            return self._unary(call)
        if name in _BINARY:
            return self._binary(call)
        if name == "nn.layer_norm":
            return self._layer_norm(call)
        if name == "take":  # the importer's "fast" mode lets a token id beyond the vocabulary read wild memory
            return self._take(call)
        return call

    def _take(self, call: relax.Call) -> relax.Expr:
        """Of an axis of one element the only one is a reshape; else reads beyond the end become reads of the last."""
        shape, axis = shape_of(call.args[0]), call.attrs.axis
        if shape is not None and axis is not None and shape[int(axis)] == 1 and shape_of(call.args[1]) == ():
            return self._reshape(call.args[0], shape_of(call), call)
        return relax.op.take(call.args[0], call.args[1], axis, mode="clip")

    def _bound(self, expr: relax.Expr) -> relax.Expr:
        if isinstance(expr, relax.Var):
            value = self.lookup_binding(expr)
            return expr if value is None else value
        return expr

    def _emit(self, expr: relax.Expr) -> relax.Expr:
        return self.builder_.emit(expr)

    def _rows(self, expr: relax.Expr) -> relax.Expr | None:
        """The two-dimensional tensor that ``expr`` is a reshape of, if it keeps the last axis."""
        value = self._bound(expr)
        if op_name(value) != "reshape":
            return None
        inner, shape = shape_of(value.args[0]), shape_of(value)
        if inner is None or shape is None or len(inner) != 2 or len(shape) < 3 or inner[1] != shape[-1]:
            return None
        return value.args[0]

    def _as_rows(self, expr: relax.Expr) -> relax.Expr:
        found = self._rows(expr)
        if found is not None:
            return found
        shape = shape_of(expr)
        assert shape is not None
        return self._emit(relax.op.reshape(expr, (prod(shape[:-1]), shape[-1])))

    def _reshape(self, source: relax.Expr, shape: tuple[int, ...] | None, call: relax.Call) -> relax.Expr:
        if shape is None:
            return call
        value = self._bound(source)
        while op_name(value) == "reshape":
            source = value.args[0]
            value = self._bound(source)
        if (known := shape_of(source)) is not None and same(known, shape):
            return source
        return relax.op.reshape(source, shape)

    def _expanded(self, call: relax.Call) -> relax.Expr:
        return self._reshape(call.args[0], shape_of(call), call)

    def _permute(self, call: relax.Call) -> relax.Expr:
        inner = self._bound(call.args[0])
        if op_name(inner) != "permute_dims":
            return call
        if call.attrs.axes is None or inner.attrs.axes is None:
            return call
        outer_axes, inner_axes = [int(a) for a in call.attrs.axes], [int(a) for a in inner.attrs.axes]
        axes = [inner_axes[a] for a in outer_axes]
        return inner.args[0] if axes == sorted(axes) else relax.op.permute_dims(inner.args[0], axes)

    def _matmul(self, call: relax.Call) -> relax.Expr:
        left, right = shape_of(call.args[0]), shape_of(call.args[1])
        out = shape_of(call)
        if left is None or right is None or out is None or len(left) < 3 or len(right) != 2:
            return call
        product = self._emit(relax.op.matmul(self._as_rows(call.args[0]), call.args[1], out_dtype="float32"))
        return relax.op.reshape(product, out)

    def _unary(self, call: relax.Call) -> relax.Expr:
        rows, out = self._rows(call.args[0]), shape_of(call)
        if rows is None or out is None:
            return call
        return relax.op.reshape(self._emit(relax.Call(call.op, [rows], call.attrs)), out)

    def _binary(self, call: relax.Call) -> relax.Expr:
        out = shape_of(call)
        if out is None or len(out) < 3 or all(self._rows(a) is None for a in call.args):
            return call
        args = []
        for arg in call.args:
            shape = shape_of(arg)
            if shape is not None and same(shape, out):
                args.append(self._as_rows(arg))
            elif shape is not None and len(shape) <= 1:
                args.append(arg)
            else:
                return call
        return relax.op.reshape(self._emit(relax.Call(call.op, args, call.attrs)), out)

    def _layer_norm(self, call: relax.Call) -> relax.Expr:
        out = shape_of(call)
        axes = [int(a) for a in call.attrs.axes]
        if out is None or len(out) < 3 or axes not in ([-1], [len(out) - 1]):
            return call
        normed = relax.op.nn.layer_norm(
            self._as_rows(call.args[0]), call.args[1], call.args[2], axes=[-1], epsilon=call.attrs.epsilon
        )
        return relax.op.reshape(self._emit(normed), out)


def flatten_rows(mod: Any) -> Any:
    """Rewrite ``main`` so that activations are ``(rows, features)``; reshapes remain only where heads are split."""
    return rewritten(mod, _FlattenRows(mod))
