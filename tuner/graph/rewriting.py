"""A model's ``main`` as a mutator makes it."""

from __future__ import annotations

from typing import Any

from tvm import relax


def rewritten(mod: Any, rewriter: Any) -> Any:
    """The module whose ``main`` the rewriter visited, with the kernels that it added, and without what nothing uses
    any more."""
    func = rewriter.visit_expr(mod["main"])
    mod = rewriter.builder_.get()
    mod.update_func(mod.get_global_var("main"), func)
    return relax.transform.DeadCodeElimination()(relax.transform.CanonicalizeBindings()(mod))
