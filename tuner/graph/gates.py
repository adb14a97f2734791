"""Gated MLPs (SwiGLU, GeGLU): the gate becomes part of the product that makes both of its halves.

The product's columns are two halves, an activation of one is multiplied by the other. Left apart, that is a kernel of
its own which reads the widest activations of the model once more. As one kernel the two sums that an element is made of
lie side by side in registers (``kernels/row_blocks.py``), and half as much is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvm import relax, te
from tvm.relax.expr_functor import PyExprMutator, mutator

from tuner.graph.operators import ACTIVATIONS
from tuner.graph.rewriting import ending_with, rewritten
from tuner.graph.rows import flatten_rows, same, shape_of
from tuner.graph.uses import Uses, either_way, op_name


@dataclass(frozen=True)
class _Half:
    """A product of ``rows`` with ``weights``, to which a bias may be added, or half of its columns, by number; ``made``
    is what it is, or is half of, ``given`` what its rows are a reshape of."""

    made: Any
    given: Any
    rows: Any
    weights: Any
    bias: list[Any]
    index: int | None = None


@dataclass(frozen=True)
class _Gate:
    """The half that goes through the activation, the other, and the ``last`` call, whose result is the kernel's."""

    gate: _Half
    other: _Half
    activation: str
    last: Any

    @property
    def index(self) -> int:
        """Which half of the kernel's product goes through the activation."""
        return self.gate.index or 0

    @property
    def products(self) -> list[_Half]:
        """The product of both halves, or of each."""
        return [self.gate] if self.gate.index is not None else [self.gate, self.other]


def fold_gates(mod: Any) -> Any:
    """Rewrite ``main`` so that each gate is part of its product."""
    rewriter = _Rewriter(mod)
    return flatten_rows(rewritten(mod, rewriter)) if rewriter.gates else mod


def _gated(call: Any, uses: Uses) -> _Gate | None:
    """The gate that a multiplication is the last part of; what is computed on the way is of no use to others."""
    for activated, other in either_way(call):
        activation = uses.value_of(activated)
        if (name := op_name(activation)) not in ACTIVATIONS or uses.only(activated) is None:
            continue
        gate, through = (_half(expr, uses) for expr in (activation.args[0], other))
        if gate is not None and through is not None and _are_halves(gate, through):
            return _Gate(gate, through, name, call)
    return None


def _are_halves(one: _Half, other: _Half) -> bool:
    """Of one product, or each of one with the same rows?"""
    if one.index is not None or other.index is not None:
        return one.made.same_as(other.made) and one.index != other.index
    alike = len(one.bias) == len(other.bias) and same(shape_of(one.weights), shape_of(other.weights))
    return alike and one.given.same_as(other.given) and same(shape_of(one.rows), shape_of(other.rows))


def _half(expr: Any, uses: Uses) -> _Half | None:
    """The product that ``expr`` is, or is half of the columns of."""
    plain = _unshaped(expr, uses)
    item = uses.value_of(plain)
    if not isinstance(item, relax.TupleGetItem):
        return _product(plain, None, uses)
    split = uses.value_of(item.tuple_value)
    if op_name(split) != "split" or len(split.ty.fields) != 2 or len(uses.of(item.tuple_value)) != 2:
        return None
    axis, last = int(split.attrs.axis), len(shape_of(split.args[0]) or ()) - 1
    one, other = (field.shape[last] for field in split.ty.fields)
    if axis not in (-1, last) or not same(one, other):
        return None
    return _product(_unshaped(split.args[0], uses), int(item.index), uses)


def _unshaped(expr: Any, uses: Uses) -> Any:
    """What ``expr`` is a reshape of that keeps the last axis; None where others take it too."""
    while uses.only(expr) is not None:
        value = uses.value_of(expr)
        given, made = (shape_of(one) for one in (value.args[0], value)) if op_name(value) == "reshape" else ((), ())
        if not given or not made or not same(given[-1], made[-1]):
            return expr
        expr = value.args[0]
    return None


def _product(made: Any, index: int | None, uses: Uses) -> _Half | None:
    """The product with a constant that is ``made``, with the bias that is added to it."""
    value, bias = uses.value_of(made), []
    if op_name(value) == "add":
        for one, other in either_way(value):
            is_bias = shape_of(other) == (shape_of(value) or ())[-1:] and uses.is_constant(other)
            if is_bias and uses.only(one) is not None:
                value, bias = uses.value_of(one), [other]
                break
    if op_name(value) != "matmul" or not uses.is_constant(value.args[1]):
        return None
    if [len(shape_of(operand) or ()) for operand in value.args] != [2, 2]:
        return None
    rows, weights = value.args
    shaped = uses.value_of(rows)
    given = shaped.args[0] if op_name(shaped) == "reshape" else rows
    return _Half(made, given, rows, weights, bias, index)


def _kernel(gate: _Gate) -> Callable[..., Any]:
    def gated(rows: Any, weights: Any, *bias: Any) -> Any:
        count, columns = rows.shape[0], int(weights.shape[1])
        width = columns // 2
        k = te.reduce_axis((0, rows.shape[1]), "k")
        sums = te.compute((count, columns), lambda i, j: te.sum(rows[i, k] * weights[k, j], axis=k), name="product")
        if bias:
            product = sums
            sums = te.compute((count, columns), lambda i, j: product[i, j] + bias[0][j], name="added")

        def half(index: int) -> Any:
            return te.compute((count, width), lambda i, j: sums[i, j + width if index else j], name=f"half{index}")

        let_through = ACTIVATIONS[gate.activation](half(gate.index))
        other = half(1 - gate.index)
        return te.compute((count, width), lambda i, j: let_through[i, j] * other[i, j], name="gated")

    return gated


@mutator
class _Rewriter(PyExprMutator):
    def __init__(self, mod: Any) -> None:
        super().__init__(mod)
        uses = Uses(mod["main"])
        last = (binding.value for binding in uses.bindings if op_name(binding.value) == "multiply")
        self.gates = [gate for call in last if (gate := _gated(call, uses)) is not None]

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        gate = ending_with(call, self.gates)
        if gate is None:
            return super().visit_call_(call)
        weights = self._joined([one.weights for one in gate.products], 1)
        biases = [one.bias[0] for one in gate.products if one.bias]
        arguments = [self.visit_expr(gate.gate.rows), weights, *([self._joined(biases, 0)] if biases else [])]
        name = "_".join(("matmul", *(["add"] if biases else []), gate.activation.removeprefix("nn."), "gate"))
        rows = self.builder_.emit_te(_kernel(gate), *arguments, primfunc_name_hint=name)
        return relax.op.reshape(rows, call.ty.shape)

    def _joined(self, parts: list[Any], axis: int) -> Any:
        """Parameters beside each other; that is computed once, on the host."""
        visited = [self.visit_expr(one) for one in parts]
        return visited[0] if len(visited) == 1 else self.builder_.emit(relax.op.concat(visited, axis))
