"""Folds layer norms into the products that take them, for GPUs, where each launch counts and none is without a trip
through memory: see ``norm_product.py``.

A norm goes where one product takes it, with a bias and perhaps an activation, and else only sums (residuals) do. The
product's weights with gamma in them, and what else depends on parameters alone, are computed once on the host.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from tuner.graph.norm_product import ACTIVATIONS, NormProduct, definition, residual
from tuner.graph.rewriting import ending_with, rewritten
from tuner.graph.rows import same, shape_of
from tuner.graph.uses import Uses, either_way, op_name

_ROWS = 128  # from which a norm costs as much as what the product takes longer with it, by the model of the GPU
_STEP, _VECTOR = 32, 4  # what depth and columns must be multiples of for the kernel


@dataclass(frozen=True)
class _Folded:
    """A norm, the product with its bias, and the ``last`` call of these, whose result the kernel's is."""

    norm: Any
    product: Any
    bias: Any
    activation: str
    last: Any


def fold_norms(mod: Any) -> Any:
    """Rewrite ``main`` so that norms which one product takes are part of it."""
    rewriter = _Rewriter(mod)
    return rewritten(mod, rewriter) if rewriter.folded else mod


def _found(main: Any) -> list[_Folded]:
    uses = Uses(main)
    found = (_folded(binding, uses) for binding in uses.bindings if op_name(binding.value) == "nn.layer_norm")
    return [one for one in found if one is not None]


def _folded(norm: Any, uses: Uses) -> _Folded | None:
    shape, takers = shape_of(norm.var), uses.of(norm.var)
    if shape is None or len(shape) != 2 or not all(isinstance(extent, int) for extent in shape) or None in takers:
        return None
    if shape[0] < _ROWS:
        return None
    products = [one for one in takers if op_name(one.value) == "matmul"]
    sums = [one for one in takers if op_name(one.value) == "add" and _is_sum(one.value, shape)]
    if len(products) != 1 or len(products) + len(sums) != len(takers) or shape[1] % _STEP:
        return None
    (product,) = products
    if not product.value.args[0].same_as(norm.var) or not uses.is_constant(product.value.args[1]):
        return None
    with_bias = uses.only(product.var)
    if with_bias is None or op_name(with_bias.value) != "add" or product.value.args[1].ty.ndim != 2:
        return None
    bias = next((one for one in with_bias.value.args if not one.same_as(product.var)), None)
    columns = shape_of(product.var)[-1]  # type: ignore[index]
    if bias is None or shape_of(bias) != (columns,) or not uses.is_constant(bias) or columns % _VECTOR:
        return None
    after = uses.only(with_bias.var)
    activation = op_name(after.value).removeprefix("nn.") if after is not None else ""
    if after is None or not activation or activation not in ACTIVATIONS:
        return _Folded(norm, product.value, bias, "", with_bias.value)
    return _Folded(norm, product.value, bias, activation, after.value)


def _is_sum(call: Any, shape: tuple[Any, ...]) -> bool:
    one, other = call.args
    shapes = [shape_of(one), shape_of(other)]
    return not one.same_as(other) and all(known is not None and same(known, shape) for known in shapes)


@mutator
class _Rewriter(PyExprMutator):
    def __init__(self, mod: Any) -> None:
        super().__init__(mod)
        self.folded = _found(mod["main"])
        self._kernels: dict[NormProduct, Any] = {}
        self._stats: dict[Any, list[Any]] = {}  # means and scales, of each norm whose product is there

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        folded = ending_with(call, self.folded)
        if folded is not None:
            return self._product(folded)
        if op_name(call) == "add":
            for one, other in either_way(call):
                if (stats := self._stats.get(one)) is not None:
                    x, gamma, beta = self._arguments(one)
                    return self.builder_.call_te(
                        residual, self.visit_expr(other), x, *stats, gamma, beta, primfunc_name_hint="residual"
                    )
        return super().visit_call_(call)

    def _arguments(self, norm: Any) -> tuple[Any, ...]:
        value = next(one.norm.value for one in self.folded if one.norm.var.same_as(norm))
        return tuple(self.visit_expr(argument) for argument in value.args)

    def _product(self, folded: _Folded) -> relax.Expr:
        x, gamma, beta = self._arguments(folded.norm.var)
        weight, bias = self.visit_expr(folded.product.args[1]), self.visit_expr(folded.bias)
        (rows, depth), columns = shape_of(x), shape_of(weight)[1]  # type: ignore[index, misc]
        emit, op = self.builder_.emit, relax.op
        scaled = emit(op.multiply(weight, op.reshape(gamma, (depth, 1))))
        sums = emit(op.sum(scaled, axis=0))
        added = emit(op.add(op.reshape(op.matmul(op.reshape(beta, (1, depth)), weight), (columns,)), bias))
        about = NormProduct(rows, depth, columns, float(folded.norm.value.attrs.epsilon), folded.activation)
        if about not in self._kernels:
            name = "_".join(filter(None, ("norm_product", folded.activation)))
            self._kernels[about] = self.builder_.add_func(definition(about).without_attr("global_symbol"), name)
        types = [relax.TensorType(shape, "float32") for shape in ((rows,), (rows,), (rows, columns))]
        all_three = emit(relax.call_tir(self._kernels[about], [x, scaled, sums, added], types))
        self._stats[folded.norm.var] = [emit(relax.TupleGetItem(all_three, n)) for n in (0, 1)]
        return relax.TupleGetItem(all_three, 2)
