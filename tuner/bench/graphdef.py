"""A frozen graph of TensorFlow as a function; of a file that may be anybody's, only what computes is taken.

It runs in a Python that has TensorFlow, and little else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

# What encoders compute with. Others read and write files, or call programs.
_TAKEN = """
    Abs Add AddN AddV2 All Any ArgMax BatchMatMul BatchMatMulV2 BatchMatMulV3 BiasAdd BroadcastArgs BroadcastTo
    Cast Concat ConcatV2 Const Cumsum Div DivNoNan Einsum Elu Equal Erf Erfc Exp ExpandDims Fill Floor FloorDiv
    FloorMod Gather GatherNd GatherV2 Greater GreaterEqual Identity IdentityN LeakyRelu Less LessEqual Log Log1p
    LogSoftmax LogicalAnd LogicalNot LogicalOr MatMul MatrixBandPart Max Maximum Mean Min Minimum Mul Neg NoOp
    NotEqual OneHot OnesLike Pack Pad PadV2 PartitionedCall Placeholder PlaceholderWithDefault Pow Prod Range
    Rank RealDiv Relu Relu6 Reshape ReverseV2 Rsqrt Select SelectV2 Selu Shape Sigmoid Sign Size Slice Softmax
    Softplus Split SplitV Sqrt Square SquaredDifference Squeeze StatefulPartitionedCall StopGradient
    StridedSlice Sub Sum Tanh Tile Transpose Unpack Where ZerosLike
"""
OPERATORS = frozenset(_TAKEN.split())


def opened(tensorflow: Any, file: Path) -> tuple[Callable[..., Any], dict[str, Any], list[str]]:
    """A call with tensors in the order of the graph's inputs, their types by name, and its outputs' names.

    Raises ValueError for a file that is no graph, or has operators that are not taken.
    """
    v1 = tensorflow.compat.v1
    graph = v1.GraphDef()
    try:
        graph.ParseFromString(file.read_bytes())
    except Exception as error:  # of protobuf's own kind
        raise ValueError(f"{file.name} is no frozen graph of TensorFlow") from error
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    functions = {function.signature.name for function in graph.library.function}
    if unknown := sorted({node.op for node in nodes} - OPERATORS - functions):
        raise ValueError(f"{file.name} has operators that are not taken: {', '.join(unknown)}")
    inputs = {
        node.name: tensorflow.dtypes.as_dtype(node.attr["dtype"].type)
        for node in graph.node
        if node.op == "Placeholder"
    }
    outputs = ends(graph.node)
    if not inputs or not outputs:
        raise ValueError(f"{file.name} is no graph from inputs to outputs")
    whole = v1.wrap_function(lambda: v1.import_graph_def(graph, name=""), [])
    call = whole.prune([whole.graph.get_tensor_by_name(f"{name}:0") for name in inputs], [
        whole.graph.get_tensor_by_name(f"{name}:0") for name in outputs
    ])  # fmt: skip
    return call, {name: kind.as_numpy_dtype for name, kind in inputs.items()}, outputs


def ends(nodes: Iterable[Any]) -> list[str]:
    """Names of nodes whose results nobody takes, in their order."""
    nodes = list(nodes)
    taken = {one.lstrip("^").partition(":")[0] for node in nodes for one in node.input}
    return [node.name for node in nodes if node.name not in taken and node.op not in ("NoOp", "Const", "Placeholder")]


def meant(name: str, known: Iterable[str]) -> str:
    """Which of our inputs a graph's own name means: ``serving_default_input_ids``, ``x/input_ids_1``. Raises
    ValueError for none of them."""
    found = [one for one in known if one in name]
    if not found:
        raise ValueError(f"the graph wants an input {name!r}; there are {', '.join(known)}")
    return max(found, key=len)
