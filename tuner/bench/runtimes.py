"""ONNX Runtime and OpenVINO as everybody here opens them. Loads a runtime when it is asked for, nothing before."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# Kind of contestant -> the packages it needs.
PACKAGES: dict[str, tuple[str, ...]] = {
    "onnxruntime": ("onnxruntime", "onnx"),
    "onnxruntime-optimised": ("onnxruntime", "onnx"),
    "onnxruntime-int8": ("onnxruntime", "onnx"),
    "onnx-file": ("onnxruntime",),
    "openvino": ("openvino",),
    "openvino-default": ("openvino",),
    "openvino-int8": ("openvino", "nncf"),
}
EXTRA = "bench"  # of this package, which brings all of them
_DTYPES = {"tensor(int32)": np.int32, "tensor(int64)": np.int64, "tensor(float)": np.float32}
_PRECISIONS = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}


@dataclass(frozen=True)
class Graph:
    """A graph as a runtime opened it: its inputs' dtypes by name, its outputs' names, a call with arrays in the order
    of the inputs, and what it computes in as far as the runtime says."""

    inputs: dict[str, Any]
    outputs: tuple[str, ...]
    call: Callable[[Sequence[np.ndarray]], Sequence[Any]]
    precision: str = ""


def how_to_install(packages: Iterable[str]) -> str | None:
    """The command that brings those of the packages that are not here; None: all are."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    return f"pip install {' '.join(missing)}" if missing else None


def opened(kind: str, path: Path, threads: int) -> Graph:
    """A graph's file by the runtime, and at the precision, that a kind of contestant says."""
    if kind.startswith("onnx"):
        session = onnxruntime_session(path, threads)
        inputs = {one.name: _DTYPES[one.type] for one in session.get_inputs()}
        outputs = tuple(one.name for one in session.get_outputs())
        return Graph(inputs, outputs, lambda given: session.run(None, dict(zip(inputs, given, strict=True))))
    hints = {"INFERENCE_PRECISION_HINT": "f32"} if kind == "openvino" else {}
    compiled = openvino_compiled(path, threads, **hints)
    inputs = {one.get_any_name(): one.get_element_type().to_dtype() for one in compiled.inputs}
    chosen = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()  # also of what is beside int8's products
    computes_in = "int8" if kind.endswith("int8") else _PRECISIONS.get(chosen, chosen)
    return Graph(inputs, (), lambda given: list(compiled(list(given)).values()), computes_in)


def onnxruntime_session(model: bytes | Path, threads: int) -> Any:
    """A session of ONNX Runtime on the CPU, for a graph or its file."""
    runtime = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def openvino_compiled(model: Any, threads: int, **hints: str) -> Any:
    """A model, or a file with one, compiled by OpenVINO for calls one after the other; without a hint in the precision
    that it takes by itself: bf16 where the CPU has instructions for it."""
    given = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", **hints}
    return importlib.import_module("openvino").compile_model(model, "CPU", given)
