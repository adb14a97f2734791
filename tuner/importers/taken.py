"""Which programs TVM's importer takes as PyTorch exports them: these need not be traced once more to be taken apart."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch.export import ExportedProgram

from tuner.graph.pooling import OPERATOR
from tuner.importers.known import known_values, put_values
from tuner.importers.pytorch import taken_apart

_aten = torch.ops.aten

# What encoders are made of. Of these the importer makes the same as of what they are taken apart into; others it
# may not take, or not with a whole number among floats, or take for what leaves its arguments as they were.
_TAKEN = {
    *("_assert_tensor_metadata.default", "add.Tensor", "cat.default", "chunk.default", "clamp.default"),
    *("contiguous.default", "cos.default", "detach_.default", "div.Tensor", "dropout.default", "embedding.default"),
    *("expand.default", "full_like.default", "gather.default", "gelu.default", "index_select.default"),
    *("layer_norm.default", "lift_fresh_copy.default", "linear.default", "matmul.default", "minimum.default"),
    *("mul.Tensor", "neg.default", "permute.default", "relu.default", "reshape.default"),
    *("scaled_dot_product_attention.default", "select.int", "silu.default", "sin.default", "slice.Tensor"),
    *("split.Tensor", "sqrt.default", "squeeze.dim", "sub.Tensor", "sum.dim_IntList", "sym_size.int", "tanh.default"),
    *("to.dtype", "transpose.int", "unsqueeze.default", "view.default", "zeros_like.default"),
}
_NAMES = {f"aten.{name}" for name in _TAKEN} | {f"tunesmith.{OPERATOR}.default"}
_RESHAPES = (_aten.view.default, _aten.reshape.default)


def importable(program: ExportedProgram) -> ExportedProgram:
    """The program as it is, where each of its operators is taken, else taken apart; what it makes of nothing is known
    then."""
    values = known_values(program)
    for node in list(program.graph.nodes):
        if node.target in _REWRITTEN and node not in values:
            _REWRITTEN[node.target](node)
    calls = [node for node in program.graph.nodes if node.op == "call_function" and node not in values]
    if not all(map(_is_taken, calls)):
        program = taken_apart(program)
        values = known_values(program)
    put_values(program, values)
    return program


def _is_taken(node: Any) -> bool:
    if node.target in _RESHAPES and -1 in node.args[1]:  # the importer would make an expression of it
        return False
    return node.target is operator.getitem or str(node.target) in _NAMES


def _tell_extents(node: Any) -> None:
    """Put numbers in place of what a reshape leaves to be told from the other extents, where it is one."""
    pairs = zip(node.args[1], node.meta["val"].shape, strict=True)
    node.args = (node.args[0], [is_ if asked == -1 and isinstance(is_, int) else asked for asked, is_ in pairs])


def _stay(node: Any) -> None:
    """Of a move to a device, of which there is one, the type that it makes is left."""
    tensor, _device, dtype, *_ = node.args
    node.target, node.args, node.kwargs = _aten.to.dtype, (tensor, dtype), {}
    _pass_over(node)


def _pass_over(node: Any) -> None:
    """Take what a cast to its own type is given for what it makes."""
    if node.args[0].meta["val"].dtype == node.meta["val"].dtype:
        node.replace_all_uses_with(node.args[0])
        node.graph.erase_node(node)


def _slice_up(node: Any) -> None:
    """Take what an axis is divided into as slices of it: together they would be a kernel of their own."""
    tensor, axis = node.args[0], node.args[1] if len(node.args) > 1 else 0
    for item in list(node.users):
        with node.graph.inserting_before(item):
            part = node.graph.call_function(_aten.slice.Tensor, (tensor, axis, item.args[1], item.args[1] + 1))
        part.meta["val"] = item.meta["val"].unsqueeze(axis)
        item.target, item.args = _aten.squeeze.dim, (part, axis)
    node.graph.erase_node(node)


# By operator, in the words that the importer makes most of.
_REWRITTEN: dict[Any, Callable[[Any], None]] = {
    _aten.reshape.default: _tell_extents,
    _aten.to.device: _stay,
    _aten.to.dtype: _pass_over,
    _aten.unbind.int: _slice_up,
    _aten.view.default: _tell_extents,
}
