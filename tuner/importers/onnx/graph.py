"""An ONNX file, read with care: its operators, its constants by name, and who uses them. No torch, no TVM."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import NodeProto, TensorProto, numpy_helper
from onnx.external_data_helper import load_external_data_for_tensor

from tuner.errors import ModelInvalid, OperatorsUnsupported
from tuner.importers.plain_file import open_plain

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
_STANDARD = ("", "ai.onnx")
_QUANTISED = (
    *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearMatMul", "QLinearConv"),
    *("MatMulInteger", "ConvInteger"),
)
_MAX_BYTES = 2**31  # what one protobuf holds at most; weights beyond lie in files of their own


@dataclass(frozen=True)
class Use:
    """Input ``index`` of a node."""

    node: NodeProto
    index: int


@dataclass(frozen=True)
class Graph:
    """A graph whose constants are at hand: initialisers and constant nodes, also by the names that identities give."""

    model: onnx.ModelProto
    folder: Path
    tensors: dict[str, TensorProto]
    uses: dict[str, list[Use]] = field(repr=False)

    @property
    def nodes(self) -> list[NodeProto]:
        """In an order in which they can be run."""
        return list(self.model.graph.node)

    def value(self, name: str) -> np.ndarray | None:
        """A constant's value, floats in float32; None for what is computed. Raises ModelInvalid for one that is cut
        short."""
        tensor = self.tensors.get(name)
        if tensor is None:
            return None
        try:
            if tensor.data_location == TensorProto.EXTERNAL:
                whole = TensorProto()
                whole.CopyFrom(tensor)
                load_external_data_for_tensor(whole, str(self.folder))
                tensor = whole
            found = numpy_helper.to_array(tensor)
        except (ValueError, TypeError, OSError, onnx.checker.ValidationError) as error:
            raise ModelInvalid(f"The constant {name} can't be read: {error}.", "Export the model again.") from None
        return found.astype(np.float32) if tensor.data_type in FLOATS else found


@contextmanager
def sound(path: Path) -> Iterator[None]:
    """What is met in a damaged graph becomes ModelInvalid: names that are no text, operators without their inputs."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ModelInvalid(f"{path} is damaged: {error}.", "Export the model again.") from error


def read(path: Path) -> Graph:
    """Read a file's graph; values of constants are read when they are asked for.

    Raises ModelInvalid for what is no ONNX, OperatorsUnsupported for fused and quantised operators, by their names.
    """
    model = _parsed(path)
    _check_operators(path, model)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    uses: dict[str, list[Use]] = defaultdict(list)
    for node in model.graph.node:
        for attribute in node.attribute if node.op_type == "Constant" else ():
            if attribute.name == "value":
                tensors[node.output[0]] = attribute.t
        if node.op_type == "Identity" and node.input[0] in tensors:
            tensors[node.output[0]] = tensors[node.input[0]]
        for index, name in enumerate(node.input):
            uses[name].append(Use(node, index))
    return Graph(model, path.parent, tensors, uses)


def external_files(path: Path) -> list[str]:
    """Names of the files beside it that hold its weights. Raises ModelInvalid for one that lies elsewhere."""
    with sound(path):
        tensors = [tensor for tensor in _stored(_parsed(path)) if tensor.data_location == TensorProto.EXTERNAL]
        found = {str(entry.value) for one in tensors for entry in one.external_data if entry.key == "location"}
    for name in sorted(found):
        if "\0" in name or Path(name).name != name or name in ("", ".", "..", path.name):
            raise ModelInvalid(
                f"{path} has weights in {name!r}, which is no file beside it.", "Save it with its weights beside it."
            )
    return sorted(found)


def _stored(model: onnx.ModelProto) -> Iterator[TensorProto]:
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t


def _parsed(path: Path) -> onnx.ModelProto:
    try:
        with open_plain(path) as file:
            content = file.read(_MAX_BYTES)
        model = onnx.ModelProto.FromString(content)
    except OSError as error:
        raise ModelInvalid(f"{path} can't be read: {error.strerror}.", "Give the file of an ONNX model.") from None
    except DecodeError:
        raise ModelInvalid(f"{path} is no ONNX model, or it is cut short.", "Export the model again.") from None
    if model.ir_version < 3 or not model.graph.node or not model.graph.output:
        raise ModelInvalid(f"{path} is no ONNX model: it has no graph.", "Export the model again.")
    return model


def _check_operators(path: Path, model: onnx.ModelProto) -> None:
    quantised = Counter(node.op_type for node in model.graph.node if node.op_type in _QUANTISED)
    if quantised:
        raise OperatorsUnsupported(
            f"{path} is quantised: {_listed(quantised)}.", "Give the export in float32 or float16, from before that."
        )
    others = Counter(f"{node.domain}.{node.op_type}" for node in model.graph.node if node.domain not in _STANDARD)
    if others:
        raise OperatorsUnsupported(
            f"{path} has operators that are not ONNX's own: {_listed(others)}.",
            "Give the export from before it was optimised for ONNX Runtime, or the folder that it was exported from.",
        )


def _listed(counted: Counter[str]) -> str:
    return ", ".join(f"{name} ({count} times)" if count > 1 else name for name, count in sorted(counted.items()))
