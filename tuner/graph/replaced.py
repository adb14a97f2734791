"""Puts kernels that were written out whole in the place of the plain ones, and their constants into panels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from tuner.graph.calls import kernel_called, types_given
from tuner.graph.rows import shape_of

_REPLACES = "replaces"  # attribute of a kernel: the name of the one it stands for
_PREPACKED = "_prepacked"  # what SplitLayoutRewritePreproc calls a kernel whose constants come packed


@dataclass(frozen=True)
class Replacement:
    """A kernel, and what packs the constant that it takes in another form: a PrimFunc of the two."""

    kernel: Any
    packer: Any | None = None


def stood_as(kernels: Mapping[str, Any]) -> dict[str, str]:
    """The names that kernels of a module stood under before some were replaced, and had their constants taken in
    another layout by TVM, by those they have now."""
    return {
        name: str((func.attrs or {}).get(_REPLACES, name.removesuffix(_PREPACKED))) for name, func in kernels.items()
    }


def replace_kernels(mod: Any, kernels: Mapping[str, Replacement]) -> Any:
    """``main`` calling the given kernels instead of those of these names. A constant that such a kernel takes in
    another form is packed before its call: of parameters alone, so once and for all."""
    if not kernels:
        return mod
    rewriter = _Replacer(mod, kernels)
    func = rewriter.visit_expr(mod["main"])
    mod = rewriter.builder_.get()
    mod.update_func(mod.get_global_var("main"), func)
    return relax.transform.DeadCodeElimination()(mod)


@mutator
class _Replacer(PyExprMutator):
    def __init__(self, mod: Any, kernels: Mapping[str, Replacement]) -> None:
        super().__init__(mod)
        self._kernels = kernels
        self._added: dict[str, Any] = {}

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = super().visit_call_(call)
        name = kernel_called(call)
        if name not in self._kernels:
            return call
        kernel, packer = self._kernels[name].kernel, self._kernels[name].packer
        arguments = [
            self._packed(f"{name}_pack", given, taken, packer)
            for given, taken in zip(call.args[1].fields, kernel.params, strict=False)
        ]
        return relax.call_tir(self._function(name, kernel), arguments, types_given(call))

    def _function(self, name: str, function: Any) -> Any:
        if name not in self._added:
            own = function.without_attr("global_symbol").with_attr("tirx.is_scheduled", True).with_attr(_REPLACES, name)
            self._added[name] = self.builder_.add_func(own, name)
        return self._added[name]

    def _packed(self, name: str, given: Any, taken: Any, packer: Any | None) -> Any:
        shape = shape_of(given)
        if packer is None or shape is None or [int(one) for one in packer.params[0].shape] != list(shape):
            return given
        if len(taken.shape) == len(shape):
            return given
        packed = packer.params[1]
        into = relax.TensorType([int(extent) for extent in packed.shape], str(packed.dtype))
        return self.builder_.emit(relax.call_tir(self._function(name, packer), [given], into))
