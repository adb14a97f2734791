"""What an ONNX graph does behind its encoder to make one vector of each text: pooling, projections, unit length.

Read backwards from an output, as the modules that sentence-transformers' files name. As in ``recognise``, what is told
is a guess, which is proven afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from onnx import NodeProto
from safetensors.numpy import save_file

from tuner.importers.folder import SAFETENSORS
from tuner.importers.onnx.graph import Graph
from tuner.importers.onnx.weights import attribute, owner_of
from tuner.importers.sentence import MODULES

_PASSED = ("Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")  # change no number
_AROUND_SIZES = (*_PASSED, "Clip", "Expand", "Max")  # between a length and what is divided by it
_ACTIVATIONS = {name: f"torch.nn.modules.activation.{name}" for name in ("Tanh", "Sigmoid")}
_ACTIVATIONS |= {"Relu": "torch.nn.modules.activation.ReLU", "": "torch.nn.modules.linear.Identity"}
_POOLER = "pooler"  # part of the library's names of what makes an encoder's own vector of a text
_PACKAGE = "sentence_transformers.models"


@dataclass(frozen=True)
class Module:
    """A module behind an encoder: its class in the library, what its ``config.json`` says, its weights as PyTorch has
    them, and the names that those have in the graph."""

    kind: str
    config: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    names: frozenset[str] = frozenset()


def modules_of(graph: Graph) -> list[Module]:
    """The modules that make the first output that is a vector of each text; none: no output is known to be one."""
    made = {name: node for node in graph.nodes for name in node.output}
    return next((found for output in graph.model.graph.output if (found := _read(graph, made, output.name))), [])


def write_modules(folder: Path, modules: Sequence[Module]) -> None:
    """``modules.json`` beside an encoder, and the folder of each module."""
    listed = [{"idx": 0, "name": "0", "path": "", "type": f"{_PACKAGE}.Transformer"}]
    for number, module in enumerate(modules, 1):
        where = f"{number}_{module.kind}"
        listed.append({"idx": number, "name": str(number), "path": where, "type": f"{_PACKAGE}.{module.kind}"})
        (folder / where).mkdir()
        (folder / where / "config.json").write_text(json.dumps(module.config))
        if module.weights:
            save_file(module.weights, folder / where / SAFETENSORS, metadata={"format": "pt"})
    (folder / MODULES).write_text(json.dumps(listed, indent=1))


def _read(graph: Graph, made: dict[str, NodeProto], name: str) -> list[Module]:
    found: list[Module] = []
    activation = ""
    for _ in graph.nodes:  # there are no more steps than nodes, whatever a file says
        node = made.get(name)
        if node is None:
            return []
        name = _source(node)
        if node.op_type in (*_PASSED, "If") or (node.op_type == "Concat" and len(node.input) == 1):
            continue
        if node.op_type in _ACTIVATIONS and not activation:
            activation = node.op_type
        elif dense := _dense(graph, made, node, activation):
            module, name = dense
            if any(_POOLER in one.split(".") for one in module.names):
                return []
            found, activation = [module, *found], ""
        elif activation:
            return []
        elif _is_normalisation(made, node):
            found = [Module("Normalize"), *found]
        else:
            mode = _mode(graph, made, node)
            return [Module("Pooling", {"pooling_mode": mode}), *found] if mode else []
    return []


def _source(node: NodeProto) -> str:
    """What a node is made of; exporters write an axis that is dropped, if there is only one of it, as a branch."""
    if node.op_type != "If":
        return str(node.input[0]) if node.input else ""
    within = [one for branch in node.attribute for one in branch.g.node if one.op_type == "Squeeze"]
    return str(within[0].input[0]) if within else ""


def _dense(graph: Graph, made: dict[str, NodeProto], node: NodeProto, activation: str) -> tuple[Module, str] | None:
    """A projection that ends in a node, and what it is of."""
    bias, product = None, node
    if node.op_type == "Add":
        for index, name in enumerate(node.input):
            other = made.get(node.input[1 - index])
            if graph.value(name) is not None and other is not None and other.op_type == "MatMul":
                bias, product = name, other
    elif node.op_type == "Gemm" and len(node.input) > 2:
        bias = node.input[2]
    if product.op_type not in ("Gemm", "MatMul") or (matrix := graph.value(product.input[1])) is None:
        return None
    matrix = np.ascontiguousarray(matrix if attribute(product, "transB") else matrix.T)
    weights = {"linear.weight": matrix}
    names = {product.input[1]} | {f"{owner}.{end}" for end in ("weight", "bias") if (owner := owner_of(graph, product))}
    if bias is not None:
        value = graph.value(bias)
        if value is None:
            return None
        weights["linear.bias"] = value
        names.add(bias)
    config = {
        "in_features": matrix.shape[1],
        "out_features": matrix.shape[0],
        "bias": bias is not None,
        "activation_function": _ACTIVATIONS[activation],
    }
    return Module("Dense", config, weights, frozenset(names)), product.input[0]


def _is_normalisation(made: dict[str, NodeProto], node: NodeProto) -> bool:
    if node.op_type == "LpNormalization":
        return True
    return node.op_type == "Div" and _size_kind(made, node.input[1]) == "ReduceL2"


def _mode(graph: Graph, made: dict[str, NodeProto], node: NodeProto) -> str:
    """How a node makes one vector of tokens; empty: in no way that is known."""
    if node.op_type == "ReduceMax":
        return "max"
    if node.op_type == "GatherElements" and attribute(node, "axis") == 1:  # at the first that is seen, or the last
        return "cls"
    if node.op_type == "Gather" and attribute(node, "axis") == 1:
        index = graph.value(node.input[1])
        return "cls" if index is not None and index.size == 1 and not index.any() else ""
    summed = made.get(node.input[0]) if node.op_type == "Div" else None
    if summed is None or summed.op_type != "ReduceSum":
        return ""
    return {"ReduceSum": "mean", "Sqrt": "mean_sqrt_len_tokens"}.get(_size_kind(made, node.input[1]), "")


def _size_kind(made: dict[str, NodeProto], name: str) -> str:
    """The operator that makes what is divided by."""
    node = made.get(name)
    for _ in made:
        if node is None or node.op_type not in _AROUND_SIZES:
            break
        node = made.get(node.input[0])
    return node.op_type if node is not None else ""
