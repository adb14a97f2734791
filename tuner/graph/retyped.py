"""Puts kernels that take parameters in other types in the place of those that don't."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from tuner.graph.calls import kernel_called, types_given


def retyped(mod: Any, kernels: Mapping[str, Any]) -> Any:
    """The module with ``kernels`` in the place of those of these names, and ``main`` taking its parameters in the types
    in which they do. A parameter that another kernel reads as well keeps its type; so do the kernels that read it."""
    main = mod["main"]
    reads = [(name, n, given) for name, arguments in _calls(main) for n, given in enumerate(arguments)]
    taken = dict(kernels)
    while torn := {name for name, _, given in reads if name in taken and len(_types(given, reads, taken, main)) > 1}:
        taken = {name: kernel for name, kernel in taken.items() if name not in torn}
    types = {given: str(taken[name].params[n].dtype) for name, n, given in reads if name in taken}
    own = {
        var: relax.Var(str(var.name), relax.TensorType(var.ty.shape, types[var]))
        for var in main.params
        if var in types and str(var.ty.dtype) != types[var]
    }
    rewriter = _Retyper(mod, taken, own)
    body = rewriter.visit_expr(main.body)
    mod = rewriter.builder_.get()
    parameters = [own.get(var, var) for var in main.params]
    mod.update_func(mod.get_global_var("main"), relax.Function(parameters, body, main.ret_ty, main.is_pure, main.attrs))
    return relax.transform.DeadCodeElimination()(mod)


def _calls(main: Any) -> Iterator[tuple[str, list[Any]]]:
    """Names of the kernels that are called, in order, with their arguments."""
    for block in main.body.blocks:
        for binding in block.bindings:
            value = binding.value
            if name := kernel_called(value):
                yield name, list(value.args[1].fields)


def _types(given: Any, reads: list[tuple[str, int, Any]], kernels: Mapping[str, Any], main: Any) -> set[str]:
    """The types in which an argument is read; what is computed, or an input, is of its own as well."""
    own = str(given.ty.dtype)
    types = {
        str(kernels[name].params[n].dtype) if name in kernels else own for name, n, one in reads if one.same_as(given)
    }
    inputs = list(main.params)[: int(main.attrs["num_input"])]
    is_parameter = any(given.same_as(one) for one in main.params) and not any(given.same_as(one) for one in inputs)
    return types if is_parameter else types | {own}


@mutator
class _Retyper(PyExprMutator):
    def __init__(self, mod: Any, kernels: Mapping[str, Any], variables: Mapping[Any, Any]) -> None:
        super().__init__(mod)
        self._kernels = kernels
        self._variables = variables
        self._added: dict[str, Any] = {}

    def visit_var_(self, var: Any) -> Any:
        return self._variables.get(var, var)

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = super().visit_call_(call)
        name = kernel_called(call)
        if name not in self._kernels:
            return call
        if name not in self._added:
            self._added[name] = self.builder_.add_func(self._kernels[name], name)
        return relax.call_tir(self._added[name], list(call.args[1].fields), types_given(call))
