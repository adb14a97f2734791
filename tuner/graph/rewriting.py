"""A model's ``main`` as a mutator makes it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tvm import relax


def rewritten(mod: Any, rewriter: Any) -> Any:
    """The module whose ``main`` the rewriter visited, with the kernels that it added, and without what nothing uses
    any more."""
    func = rewriter.visit_expr(mod["main"])
    mod = rewriter.builder_.get()
    mod.update_func(mod.get_global_var("main"), func)
    return relax.transform.DeadCodeElimination()(relax.transform.CanonicalizeBindings()(mod))


def ending_with(call: Any, found: Iterable[Any]) -> Any | None:
    """Of what was found in the graph before, each known by its ``last`` call, the one that ends with this one."""
    return next((one for one in found if one.last.same_as(call)), None)
