"""A model's kernels in the order in which they run: what feeds each, what it feeds, and which weights it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import relax

from tuner.graph.calls import kernel_called
from tuner.graph.surroundings import Launch


def launches(mod: Any, inputs: int, origins: Sequence[Sequence[str]]) -> list[Launch]:
    """Those of a prepared module, whose ``main`` takes so many inputs, then parameters made of ``origins``."""
    main = mod["main"]
    sources: dict[Any, list[tuple[str, Any]]] = {}
    for place, param in enumerate(main.params):
        if place < inputs:
            sources[param] = [("reads", str(param.name))]
        else:
            names = origins[place - inputs] if place - inputs < len(origins) else [str(param.name)]
            sources[param] = [("weights", name) for name in names]

    def of(expr: Any) -> list[tuple[str, Any]]:
        """What is behind an expression: kernels and inputs read, weights."""
        if isinstance(expr, relax.Var):
            return sources.get(expr, [])
        if isinstance(expr, relax.TupleGetItem):
            return of(expr.tuple_value)
        fields = expr.fields if isinstance(expr, relax.Tuple) else expr.args if isinstance(expr, relax.Call) else ()
        return [source for one in fields for source in of(one)]

    found: list[Launch] = []
    for block in main.body.blocks:
        for binding in block.bindings:
            value = binding.value
            if name := kernel_called(value):
                behind = list(dict.fromkeys(of(value.args[1])))
                reads = tuple(what for kind, what in behind if kind == "reads")
                weights = tuple(what for kind, what in behind if kind == "weights")
                sources[binding.var] = [("reads", len(found))]
                found.append(Launch(name, reads, weights))
            else:
                sources[binding.var] = of(value)
    given = {what for kind, what in of(main.body.body) if kind == "reads"}
    return [Launch(one.kernel, one.reads, one.weights, place in given) for place, one in enumerate(found)]
