"""A model of any kind, from its file: what it takes, what it must compute, its kernels. No family, no head, no text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
from onnx import ValueInfoProto
from onnx.helper import tensor_dtype_to_np_dtype

from tuner.errors import ModelInvalid
from tuner.graph.pipeline import Prepared
from tuner.importers.onnx import graph as onnx_graph
from tuner.importers.onnx.running import run
from tuner.importers.onnx.widths import in_float32
from tuner.importers.programs.inputs import Given

ONNX_ITSELF = "ONNX's own evaluator, float32"
PYTORCH = "PyTorch, float32"
_DTYPES = ("float32", "int64", "int32", "bool")


class FileModel(Protocol):
    """What both kinds of files tell. ``against``: who says what it must compute."""

    inputs: list[Given]
    against: str

    def reference(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name for inputs by name."""
        ...

    def prepared(self, kind: str) -> Prepared:
        """Its kernels for a kind of target; its inputs in the order of ``inputs``."""
        ...


def open_program(name: str, file: Path, batch: int, seq_len: int) -> FileModel:
    """A ``.pt2`` file. Raises ModelInvalid, FormatUnsupported."""
    from tuner.importers.programs import loading

    program = loading.load_program(file, batch, seq_len)
    inputs = [
        Given(one.name, one.shape, str(one.dtype).removeprefix("torch."), one.below)
        for one in loading.inputs_of(program)
    ]
    return Program(name, program, inputs)


def open_onnx(name: str, file: Path, batch: int, seq_len: int, scratch: Path) -> FileModel:
    """An ``.onnx`` file. Raises ModelInvalid, OperatorsUnsupported."""
    onnx_graph.read(file)
    model = onnx.load_model(file)
    in_float32(model)
    constants = {tensor.name for tensor in model.graph.initializer}
    given = [value for value in model.graph.input if value.name not in constants]
    inputs = [_given(name, value, (batch, seq_len), _below(model, value.name)) for value in given]
    return OnnxModel(name, file, model, inputs, scratch)


@dataclass
class Program:
    """A program of PyTorch's."""

    name: str
    program: Any
    inputs: list[Given]
    against: str = PYTORCH

    def reference(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        from tuner.importers.programs.loading import computed

        return computed(self.program, inputs)

    def prepared(self, kind: str) -> Prepared:
        from tuner.importers.programs.lowering import lower_program

        return lower_program(self.name, self.program, kind)


@dataclass
class OnnxModel:
    """A graph of ONNX's."""

    name: str
    file: Path
    model: onnx.ModelProto
    inputs: list[Given]
    scratch: Path
    against: str = ONNX_ITSELF

    def reference(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return run(self.file, inputs, self.scratch, self.name)

    def prepared(self, kind: str) -> Prepared:
        from tuner.importers.programs.lowering import lower_onnx

        return lower_onnx(self.name, self.model, {one.name: one.shape for one in self.inputs}, kind)


def _given(name: str, value: ValueInfoProto, wanted: tuple[int, int], below: int | None) -> Given:
    """An input of a graph; of extents that it leaves open the first is the batch, the second the length."""
    kind = value.type.tensor_type
    dtype = str(np.dtype(tensor_dtype_to_np_dtype(kind.elem_type))) if kind.elem_type else "nothing"
    if dtype not in _DTYPES or not kind.HasField("shape"):
        raise ModelInvalid(
            f"{name} takes {value.name} as {dtype}, or of no known shape.",
            f"Export it with inputs of {', '.join(_DTYPES)}.",
        )
    shape = []
    for axis, dim in enumerate(kind.shape.dim):
        if dim.dim_value <= 0 and axis >= len(wanted):
            raise ModelInvalid(
                f"{name} leaves extent {axis} of {value.name} open.",
                "Export it with fixed shapes; only the first two may be open: the batch and the length.",
            )
        shape.append(dim.dim_value if dim.dim_value > 0 else wanted[axis])
    return Given(value.name, tuple(shape), dtype, below)


def _below(model: onnx.ModelProto, name: str) -> int | None:
    """Rows of the table that is looked up by an input; None: it is no table's."""
    rows = {tensor.name: int(tensor.dims[0]) for tensor in model.graph.initializer if len(tensor.dims) == 2}
    names = {name}
    for node in model.graph.node:
        if node.op_type in ("Cast", "Reshape", "Unsqueeze", "Identity") and node.input[0] in names:
            names.add(node.output[0])
        if node.op_type == "Gather" and len(node.input) > 1 and node.input[1] in names and node.input[0] in rows:
            return rows[node.input[0]]
    return None
