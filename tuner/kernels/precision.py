"""Which products of a model are computed at a lower precision: each says so by an attribute, so that it is a workload
of its own, with records of its own."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import tvm
from tvm import tirx

from tuner.errors import PrecisionUnavailable
from tuner.graph import attention_kernel
from tuner.graph.attention_kernel import attention_of
from tuner.graph.norm_product import definition, norm_product_of
from tuner.graph.retyped import retyped
from tuner.kernels import dot_blocks, row_products
from tuner.kernels.dots import dot_of
from tuner.kernels.halves import halved

ATTRIBUTE = "tunesmith.precision"
FULL, LOWER, FASTEST = "fp32", ("bf16", "fp16", "int8"), "fastest"
LEAST_COLUMNS = 16  # of a product that is worth it: a classifier's last one has as many as there are labels


def precision_of(function: Any) -> str:
    """At which precision a function's product is computed."""
    return str(function.attrs[ATTRIBUTE]) if function.attrs and ATTRIBUTE in function.attrs else FULL


def lowered(mod: Any, precision: str, target: Any) -> Any:
    """The module with every product that the target can compute at this precision marked so; the rest stays.

    Raises PrecisionUnavailable where it can compute none.
    """
    if precision == FULL:
        return mod
    dot = dot_of(precision, target)
    on_cpu = target.kind.name == "llvm"
    if dot is None:
        raise PrecisionUnavailable(
            f"{target.attrs.get('mcpu', _kind(target))} has no instructions for {precision}.",
            f"It computes in {' and '.join(available(target))}.",
        )
    marked = {}
    for var, function in mod.functions.items():
        if not isinstance(function, tirx.PrimFunc):
            continue
        if (product := norm_product_of(function)) is not None and product.columns >= LEAST_COLUMNS:
            halves = definition(replace(product, dtype="float16")).without_attr("global_symbol")
            about = dict(function.attrs.items()) | dict(halves.attrs.items()) | {ATTRIBUTE: precision}
            marked[str(var.name_hint)] = halves.with_attr(about)
            continue
        if not on_cpu and (attention := attention_of(function)) is not None:
            halves = attention_kernel.definition(replace(attention, dtype="float16")).without_attr("global_symbol")
            marked[str(var.name_hint)] = halves.with_attr(ATTRIBUTE, precision)
            continue
        found = row_products.find(tvm.IRModule({"main": function}))
        if found is None or found.columns < LEAST_COLUMNS or (on_cpu and not dot_blocks.tiles(found, dot)):
            continue
        kernel = function if on_cpu else halved(function, found)
        marked[str(var.name_hint)] = kernel.with_attr(ATTRIBUTE, precision)
    mod = _with(mod, marked) if on_cpu else retyped(mod, marked)
    if not any(precision_of(function) == precision for function in mod.functions.values()):
        raise PrecisionUnavailable(
            f"No product of the model can be computed in {precision}: none is wide enough, or its width is odd.",
            "Leave out --precision.",
        )
    return mod


def _with(mod: Any, kernels: dict[str, Any]) -> Any:
    mod = tvm.IRModule(dict(mod.functions.items()), attrs=mod.attrs)
    for name, kernel in kernels.items():
        mod[name] = kernel
    return mod


def _kind(target: Any) -> str:
    return "This processor" if target.kind.name == "llvm" else f"A GPU by {target.kind.name}"


def modules(mod: Any, wish: str, target: Any) -> dict[str, Any]:
    """The module at the precision that is wished for or, for the fastest, at each that the target has instructions for
    and the module products. Raises as ``lowered``."""
    if wish != FASTEST:
        return {wish: lowered(mod, wish, target)}
    found = {FULL: mod}
    for precision in available(target)[1:]:
        with suppress(PrecisionUnavailable):
            found[precision] = lowered(mod, precision, target)
    return found


def available(target: Any) -> list[str]:
    """Precisions that a target has instructions for."""
    return [FULL, *(one for one in LOWER if dot_of(one, target) is not None)]
