"""The parameters of an ONNX graph by the names they had in the network that it was exported from.

Exporters keep the names of most. Of a product they transpose the weights and drop the name: it is told by the bias that
is added to the product, else by the scope that the exporter wrote to the node.
"""

from __future__ import annotations

import ast
import re

import numpy as np
from onnx import NodeProto

from tuner.importers.onnx.graph import FLOATS, Graph

_ENDINGS = (".weight", ".bias")
_COUNTED = re.compile(r"_\d+$")  # a module that is called again: query_1
_SCOPES = "pkg.torch.onnx.name_scopes"


def named_weights(graph: Graph) -> dict[str, np.ndarray]:
    """Parameters by name, float32, in the shapes that PyTorch has them in."""
    found: dict[str, np.ndarray] = {}
    for name, tensor in graph.tensors.items():
        if name.endswith(_ENDINGS) and tensor.data_type in FLOATS:
            value = graph.value(name)
            assert value is not None
            found[name] = value.T if value.ndim == 2 and _is_transposed(graph, name) else value
    for node in graph.nodes:
        if node.op_type not in ("MatMul", "Gemm") or len(node.input) < 2 or node.input[1] in found:
            continue
        value = graph.value(node.input[1])
        if value is None or value.ndim != 2:
            continue
        owner = owner_of(graph, node)
        if owner and f"{owner}.weight" not in found:
            found[f"{owner}.weight"] = value if attribute(node, "transB") else value.T
    return {name: np.ascontiguousarray(value) for name, value in found.items()}


def owner_of(graph: Graph, node: NodeProto) -> str:
    """The module that a product belongs to; empty: nothing says."""
    return _owner_by_bias(graph, node) or _owner_by_scope(node)


def _is_transposed(graph: Graph, name: str) -> bool:
    """Is a matrix used as ``(inputs, outputs)``?"""
    return any(use.index == 1 and _takes_transposed(use.node) for use in graph.uses.get(name, ()))


def _takes_transposed(node: NodeProto) -> bool:
    return node.op_type == "MatMul" or (node.op_type == "Gemm" and not attribute(node, "transB"))


def _owner_by_bias(graph: Graph, node: NodeProto) -> str:
    """The module whose bias is added to the product; empty: none that has a name."""
    added = [node.input[2]] if node.op_type == "Gemm" and len(node.input) > 2 else []
    for use in graph.uses.get(node.output[0], ()):
        if use.node.op_type == "Add":
            added.append(use.node.input[1 - use.index])
    names = [name for name in added if name.endswith(".bias") and name in graph.tensors]
    return names[0].removesuffix(".bias") if names else ""


def _owner_by_scope(node: NodeProto) -> str:
    """The module in which the exporter met the product: ``/layers.0/attn/Wo/MatMul``, or ever longer names."""
    for entry in node.metadata_props:
        if entry.key == _SCOPES:
            try:
                scopes = ast.literal_eval(entry.value)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                return ""
            return str(scopes[-2]) if isinstance(scopes, list) and len(scopes) > 1 else ""
    *scope, _ = node.name.strip("/").split("/")
    return _COUNTED.sub("", ".".join(scope))


def attribute(node: NodeProto, name: str) -> int:
    """A whole number that a node is given; 0 where it has none."""
    return next((attribute.i for attribute in node.attribute if attribute.name == name), 0)
