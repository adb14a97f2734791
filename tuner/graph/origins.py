"""Which of a model's own tensors its folded parameters are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import relax


def made_of(folding: Any, names: Sequence[str]) -> list[list[str]]:
    """For each tensor that a function makes of a tuple of tensors called ``names``, those that it takes, in order."""
    (given,) = folding.params
    taken: dict[Any, frozenset[int]] = {}
    parts: dict[Any, list[Any]] = {}

    def of(expr: Any) -> frozenset[int]:
        if isinstance(expr, relax.Var):
            return taken.get(expr, frozenset())
        if isinstance(expr, relax.TupleGetItem):
            return frozenset({int(expr.index)}) if expr.tuple_value.same_as(given) else of(expr.tuple_value)
        fields = expr.fields if isinstance(expr, relax.Tuple) else expr.args if isinstance(expr, relax.Call) else ()
        return frozenset().union(*map(of, fields))

    for block in folding.body.blocks:
        for binding in block.bindings:
            taken[binding.var] = of(binding.value)
            if isinstance(binding.value, relax.Tuple):
                parts[binding.var] = list(binding.value.fields)
    result = folding.body.body
    if result.same_as(given):  # nothing was computed beforehand
        return [[name] for name in names]
    made = list(result.fields) if isinstance(result, relax.Tuple) else parts[result]
    return [[names[index] for index in sorted(of(one))] for one in made]
