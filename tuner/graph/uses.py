"""Which calls of a graph take what."""

from __future__ import annotations

from typing import Any

from tvm import relax
from tvm.ir import Op


class Uses:
    """Which calls take what, in a ``main`` of one block after the other."""

    def __init__(self, main: Any) -> None:
        self.bindings = [binding for block in main.body.blocks for binding in block.bindings]
        self._inputs = list(main.params)[: int(main.attrs["num_input"])]
        self._values = {binding.var: binding.value for binding in self.bindings}
        self._takers: dict[Any, list[Any]] = {}
        self._computed: set[Any] = set(self._inputs)  # from inputs, not from parameters alone
        for binding in self.bindings:
            variables = variables_of(binding.value)
            for one in variables:
                self._takers.setdefault(one, []).append(binding)
            if self._computed & variables:
                self._computed.add(binding.var)
        for one in variables_of(main.body.body):
            self._takers.setdefault(one, []).append(None)

    def value_of(self, expr: Any) -> Any:
        """What a variable is bound to; all else is itself."""
        return self._values.get(expr, expr) if isinstance(expr, relax.Var) else expr

    def of(self, var: Any) -> list[Any]:
        """Bindings that take it; None stands for the function's end."""
        return self._takers.get(var, [])

    def only(self, var: Any) -> Any | None:
        """The one binding that takes it."""
        takers = self.of(var)
        return takers[0] if len(takers) == 1 else None

    def is_constant(self, expr: Any) -> bool:
        """Does it depend on parameters alone?"""
        return not self._computed & variables_of(expr)


def variables_of(expr: Any) -> set[Any]:
    """Those that an expression is made of."""
    found: set[Any] = set()

    def visit(one: Any) -> None:
        if isinstance(one, relax.Var):
            found.add(one)

    relax.analysis.post_order_visit(expr, visit)
    return found


def op_name(value: Any) -> str:
    """Of a call of an operator, its name without ``relax.``; empty for all else."""
    is_operator = isinstance(value, relax.Call) and isinstance(value.op, Op)
    return str(value.op.name).removeprefix("relax.") if is_operator else ""


def either_way(call: Any) -> list[tuple[Any, Any]]:
    """The two arguments of a call whose order does not matter, in both orders."""
    return [tuple(call.args), tuple(call.args[::-1])]
