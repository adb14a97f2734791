"""Other runtimes as contestants, when they are installed: torch.compile, ONNX Runtime, OpenVINO, at each precision."""

from __future__ import annotations

import importlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tuner.bench.runtimes import how_to_install, onnxruntime_session, openvino_compiled
from tuner.errors import StageFailed
from tuner.importers.reference import in_batches
from tuner.importers.sentences import sentences
from tuner.importers.wrapper import variant

if TYPE_CHECKING:
    from tuner.importers.huggingface import LoadedModel

_PACKAGES = {
    "torch-compile": (),
    "torch-bf16": (),
    "onnxruntime": ("onnxruntime", "onnx"),
    "onnxruntime-int8": ("onnxruntime", "onnx"),
    "openvino": ("openvino",),
    "openvino-default": ("openvino",),
    "openvino-int8": ("openvino", "nncf"),
}
_CALIBRATED = 32  # sentences that a static quantisation looks at

Call = Callable[..., Any]


def peer(kind: str, loaded: LoadedModel, inputs: dict[str, Any], threads: int) -> Call:
    """A call that runs the model on ``inputs``, or on others of their shape that it is given, with another runtime on
    ``threads`` threads: in float32, or as the end of ``kind`` says.

    Raises ``StageFailed`` when its package is not installed.
    """
    if command := how_to_install(_PACKAGES[kind]):
        raise StageFailed(f"{kind} can't take part, it is not installed.", f"Run: {command}")
    return _BUILD[kind](loaded, inputs, threads)


def _torch_compile(loaded: LoadedModel, inputs: dict[str, Any], threads: int) -> Call:
    return torch_call(torch.compile(variant(loaded, "sdpa"), mode="max-autotune"), loaded, inputs)


def _torch_bf16(loaded: LoadedModel, inputs: dict[str, Any], threads: int) -> Call:
    """By autocast, as PyTorch's documentation advises for inference on a CPU."""
    call = torch_call(variant(loaded, "sdpa"), loaded, inputs)

    def in_bf16(given: dict[str, Any] = inputs) -> Any:
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            return [value.float() for value in call(given)]

    return in_bf16


def torch_call(module: Any, loaded: LoadedModel, inputs: dict[str, Any]) -> Call:
    """A PyTorch module on named arrays."""

    def tensors(given: dict[str, Any]) -> list[torch.Tensor]:
        return [torch.from_numpy(given[name]) for name in loaded.input_names]

    ready = tensors(inputs)
    return lambda given=None: module(*(ready if given is None else tensors(given)))


def _onnxruntime(loaded: LoadedModel, inputs: dict[str, Any], threads: int) -> Call:
    return _onnx_session(onnx_of(loaded, inputs), inputs, threads)


def _onnxruntime_int8(loaded: LoadedModel, inputs: dict[str, Any], threads: int) -> Call:
    """Dynamic, as ONNX Runtime's documentation advises for transformers."""
    quantization = importlib.import_module("onnxruntime.quantization")
    with tempfile.TemporaryDirectory() as folder, _quiet_logging():
        plain, rounded = Path(folder, "plain.onnx"), Path(folder, "int8.onnx")
        plain.write_bytes(onnx_of(loaded, inputs))
        quantization.quantize_dynamic(plain, rounded, per_channel=True, weight_type=quantization.QuantType.QInt8)
        return _onnx_session(rounded.read_bytes(), inputs, threads)


@contextmanager
def _quiet_logging() -> Iterator[None]:
    """The quantiser warns of a step before it that no encoder needs."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def onnx_for_any_length(loaded: LoadedModel) -> bytes:
    """The model as an ONNX graph that takes any number of texts of any length, padded."""
    example = dict.fromkeys(loaded.input_names, np.ones((2, 8), np.int32))
    return onnx_of(loaded, example, {name: {0: "texts", 1: "length"} for name in example})


def onnx_of(
    loaded: LoadedModel, inputs: dict[str, Any], open_extents: dict[str, dict[int, str]] | None = None
) -> bytes:
    """The model as an ONNX graph for inputs of these shapes, of which some may be open."""
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
            dynamic_axes=open_extents,
            opset_version=17,
            dynamo=False,
        )
    return model.getvalue()


def _onnx_session(model: bytes, inputs: dict[str, Any], threads: int) -> Call:
    session = onnxruntime_session(model, threads)
    return lambda given=inputs: session.run(None, given)


def _openvino(loaded: LoadedModel, inputs: dict[str, Any], threads: int) -> Call:
    return _compiled_by_openvino(_converted(loaded, inputs), loaded, inputs, threads, INFERENCE_PRECISION_HINT="f32")


def _openvino_default(loaded: LoadedModel, inputs: dict[str, Any], threads: int) -> Call:
    """In the precision that it takes by itself: bf16 where the CPU has instructions for it."""
    return _compiled_by_openvino(_converted(loaded, inputs), loaded, inputs, threads)


def _openvino_int8(loaded: LoadedModel, inputs: dict[str, Any], threads: int) -> Call:
    """Static, calibrated on sample sentences, as OpenVINO's documentation advises for transformers."""
    nncf = importlib.import_module("nncf")
    batch, seq_len = next(iter(inputs.values())).shape
    texts = in_batches(loaded, sentences()[:_CALIBRATED], batch, seq_len)
    dataset = nncf.Dataset([[one[name] for name in loaded.input_names] for one in texts])
    with _quiet_logging():
        model = nncf.quantize(_converted(loaded, inputs), dataset, model_type=nncf.ModelType.TRANSFORMER)
    return _compiled_by_openvino(model, loaded, inputs, threads)


def _converted(loaded: LoadedModel, inputs: dict[str, Any]) -> Any:
    from tuner.importers.pytorch import export  # a second, which only OpenVINO asks for

    batch, seq_len = next(iter(inputs.values())).shape
    return importlib.import_module("openvino").convert_model(export(loaded, batch, seq_len))


def _compiled_by_openvino(model: Any, loaded: LoadedModel, inputs: dict[str, Any], threads: int, **hints: str) -> Call:
    compiled = openvino_compiled(model, threads, **hints)
    return lambda given=inputs: compiled([given[name] for name in loaded.input_names])


_BUILD: dict[str, Callable[[LoadedModel, dict[str, Any], int], Call]] = {
    "torch-compile": _torch_compile,
    "torch-bf16": _torch_bf16,
    "onnxruntime": _onnxruntime,
    "onnxruntime-int8": _onnxruntime_int8,
    "openvino": _openvino,
    "openvino-default": _openvino_default,
    "openvino-int8": _openvino_int8,
}
