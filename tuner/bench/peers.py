"""Other runtimes as contestants, when they are installed: torch.compile, ONNX Runtime, OpenVINO."""

from __future__ import annotations

import importlib
import importlib.util
import io
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from tuner.errors import StageFailed
from tuner.importers.pytorch import export
from tuner.importers.wrapper import variant

if TYPE_CHECKING:
    from tuner.importers.huggingface import LoadedModel

_PACKAGES = {"torch-compile": (), "onnxruntime": ("onnxruntime", "onnx"), "openvino": ("openvino",)}


def peer(kind: str, loaded: LoadedModel, inputs: dict[str, Any], threads: int) -> Callable[[], Any]:
    """A call that runs the model on ``inputs`` with another runtime on ``threads`` threads, in float32.

    Raises ``StageFailed`` when its package is not installed.
    """
    missing = [name for name in _PACKAGES[kind] if importlib.util.find_spec(name) is None]
    if missing:
        raise StageFailed(f"{kind} can't take part, it is not installed.", f"Run: pip install {' '.join(missing)}")
    build = {"torch-compile": _torch_compile, "onnxruntime": _onnxruntime, "openvino": _openvino}[kind]
    return build(loaded, inputs, threads)


def _torch_compile(loaded: LoadedModel, inputs: dict[str, Any], threads: int) -> Callable[[], Any]:
    tensors = [torch.from_numpy(inputs[name]) for name in loaded.input_names]
    compiled = torch.compile(variant(loaded, "sdpa"), mode="max-autotune")
    return lambda: compiled(*tensors)


def _onnxruntime(loaded: LoadedModel, inputs: dict[str, Any], threads: int) -> Callable[[], Any]:
    onnxruntime = importlib.import_module("onnxruntime")
    tensors = tuple(torch.from_numpy(inputs[name]) for name in loaded.input_names)
    model = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter calls itself deprecated; the newer one needs onnxscript
        torch.onnx.export(
            loaded.module,
            tensors,
            model,
            input_names=list(loaded.input_names),
            output_names=list(loaded.output_names),
            opset_version=17,
            dynamo=False,
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.getvalue(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, inputs)


def _openvino(loaded: LoadedModel, inputs: dict[str, Any], threads: int) -> Callable[[], Any]:
    openvino = importlib.import_module("openvino")
    batch, seq_len = next(iter(inputs.values())).shape
    model = openvino.convert_model(export(loaded, batch, seq_len))
    compiled = openvino.compile_model(
        model,
        "CPU",
        {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"},
    )
    arrays = [inputs[name] for name in loaded.input_names]
    return lambda: compiled(arrays)
