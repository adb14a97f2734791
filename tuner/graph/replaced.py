"""Puts kernels that were written out whole in the place of the plain ones, and their constants into panels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm import relax, te
from tvm.relax.expr_functor import PyExprMutator, mutator

from tuner.graph.rows import same, shape_of


def replace_kernels(mod: Any, kernels: Mapping[str, Any]) -> Any:
    """``main`` calling the given kernels instead of those of these names. A constant ``(depth, columns)`` that such a
    kernel takes as ``(panels, depth, width)`` is packed before its call: of parameters alone, so once and for all."""
    if not kernels:
        return mod
    rewriter = _Replacer(mod, kernels)
    func = rewriter.visit_expr(mod["main"])
    mod = rewriter.builder_.get()
    mod.update_func(mod.get_global_var("main"), func)
    return relax.transform.DeadCodeElimination()(mod)


@mutator
class _Replacer(PyExprMutator):
    def __init__(self, mod: Any, kernels: Mapping[str, Any]) -> None:
        super().__init__(mod)
        self._kernels = kernels
        self._added: dict[str, Any] = {}

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = super().visit_call_(call)
        name = str(call.args[0].name_hint) if str(getattr(call.op, "name", "")) == "relax.call_tir" else ""
        if name not in self._kernels:
            return call
        kernel = self._kernels[name]
        if name not in self._added:
            own = kernel.without_attr("global_symbol").with_attr("tirx.is_scheduled", True)
            self._added[name] = self.builder_.add_func(own, name)
        arguments = [
            self._packed(given, taken) for given, taken in zip(call.args[1].fields, kernel.params, strict=False)
        ]
        return relax.call_tir(self._added[name], arguments, call.ty_args[0])

    def _packed(self, given: Any, taken: Any) -> Any:
        shape = shape_of(given)
        if len(taken.shape) != 3 or shape is None or len(shape) != 2:
            return given
        panels, depth, width = (int(extent) for extent in taken.shape)
        assert same(shape, (depth, panels * width))

        def pack(constant: Any) -> Any:
            return te.compute((panels, depth, width), lambda p, k, j: constant[k, p * width + j], name="panels")

        return self.builder_.emit_te(pack, given, primfunc_name_hint="pack")
