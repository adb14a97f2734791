"""Which programs TVM's importer takes as PyTorch exports them: these need not be traced once more to be taken apart."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch.export import ExportedProgram

from tuner.graph.pooling import OPERATOR
from tuner.importers.pytorch import taken_apart

# What most encoders are made of. Of these the importer makes the same as of what they are taken apart into; others it
# may not take, or not with a whole number among floats, or take for what leaves its arguments as they were.
_TAKEN = {
    *("_assert_tensor_metadata.default", "add.Tensor", "arange.start", "clamp.default", "contiguous.default"),
    *("div.Tensor", "dropout.default", "embedding.default", "full_like.default", "gelu.default"),
    *("index_select.default", "layer_norm.default", "linear.default", "mul.Tensor", "relu.default", "reshape.default"),
    *("scaled_dot_product_attention.default", "select.int", "split.Tensor", "sqrt.default", "squeeze.dim"),
    *("sub.Tensor", "sum.dim_IntList", "sym_size.int", "tanh.default", "to.dtype", "transpose.int"),
    *("unsqueeze.default", "view.default", "zeros.default", "zeros_like.default"),
}
_NAMES = {f"aten.{name}" for name in _TAKEN} | {f"tunesmith.{OPERATOR}.default"}
_RESHAPES = (torch.ops.aten.view.default, torch.ops.aten.reshape.default)


def importable(program: ExportedProgram) -> ExportedProgram:
    """The program as it is, where each of its operators is taken, else taken apart."""
    calls = [node for node in program.graph.nodes if node.op == "call_function"]
    for node in calls:
        if node.target in _RESHAPES:
            _tell_extents(node)
    return program if all(map(_is_taken, calls)) else taken_apart(program)


def _is_taken(node: Any) -> bool:
    if node.target in _RESHAPES and -1 in node.args[1]:  # the importer would make an expression of it
        return False
    return node.target is operator.getitem or str(node.target) in _NAMES


def _tell_extents(node: Any) -> None:
    """Put numbers in place of what a reshape leaves to be told from the other extents, where it is one."""
    pairs = zip(node.args[1], node.meta["val"].shape, strict=True)
    node.args = (node.args[0], [is_ if asked == -1 and isinstance(is_, int) else asked for asked, is_ in pairs])
