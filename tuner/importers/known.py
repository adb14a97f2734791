"""What an exported program makes of nothing, positions and masks of windows, is computed here: TVM would compile each
of the operators first."""

from __future__ import annotations

from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx.node import map_arg

from tuner.graph.known import VALUE, known


def known_values(program: ExportedProgram) -> dict[Any, torch.Tensor]:
    """The value of each node that depends on no input and no parameter."""
    values: dict[Any, torch.Tensor] = {}
    for node in program.graph.nodes:
        if _may_be_computed(node) and all(one in values for one in node.all_input_nodes):
            args, kwargs = (map_arg(given, values.__getitem__) for given in (node.args, node.kwargs))
            values[node] = node.target(*args, **kwargs)
    return values


def put_values(program: ExportedProgram, values: dict[Any, torch.Tensor]) -> None:
    """Put the values that others take in the place of the nodes that make them."""
    graph = program.graph
    for node, value in reversed(values.items()):
        if node.users:  # those that are known themselves are gone
            with graph.inserting_before(node):
                held = graph.call_function(known)
            held.meta.update(node.meta, **{VALUE: value.numpy()})
            node.replace_all_uses_with(held)
        graph.erase_node(node)


def _may_be_computed(node: Any) -> bool:
    """Is it the same each time, and does nobody else see what it writes to?"""
    if not isinstance(node.target, torch._ops.OpOverload) or not isinstance(node.meta.get("val"), torch.Tensor):
        return False
    if torch.Tag.nondeterministic_seeded in node.target.tags:
        return False
    return not node.target._schema.is_mutable or all(len(one.users) == 1 for one in node.all_input_nodes)
