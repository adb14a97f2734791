"""A model as the graph that another runtime opens, at each precision that the runtime's users reach for."""

from __future__ import annotations

import importlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tuner.bench import keras_bert
from tuner.importers.reference import in_batches
from tuner.importers.sentences import sentences

if TYPE_CHECKING:
    from tuner.importers.huggingface import LoadedModel

Inputs = dict[str, np.ndarray]
FILES = {
    "onnxruntime": "plain.onnx",
    "onnxruntime-optimised": "optimised.onnx",
    "onnxruntime-int8": "int8.onnx",
    "openvino": "plain.xml",
    "openvino-default": "plain.xml",
    "openvino-int8": "int8.xml",
    "keras": "keras",
}
_CALIBRATED = 32  # sentences that a static quantisation looks at
_CALIBRATED_AT = (1, 64)  # batch and length of them, where the graph takes any


def written(kind: str, folder: Path, load: Callable[[], LoadedModel], inputs: Inputs | None) -> Path:
    """The graph's file for a kind of contestant, written into ``folder`` unless it is there: for the shape of
    ``inputs``, or (None) for any number of texts of any length, padded."""
    found = folder / FILES[kind]
    if not found.exists():
        draft = folder / f"draft-{found.name}"
        _WRITE[found.name](draft, folder, load, inputs)
        for file in (draft.with_suffix(".bin"), draft):  # the graph last: when it is there all is
            if file.exists():
                file.replace(folder / file.name.removeprefix("draft-"))
    return found


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


def _plain_onnx(draft: Path, folder: Path, load: Callable[[], LoadedModel], inputs: Inputs | None) -> None:
    draft.write_bytes(onnx_for_any_length(load()) if inputs is None else onnx_of(load(), inputs))


def optimise(plain: Path, optimised: Path, loaded: LoadedModel) -> None:
    """By ONNX Runtime's own tool for transformers, to which all encoders are of its type bert."""
    optimizer = importlib.import_module("onnxruntime.transformers.optimizer")
    hidden = int(loaded.config.get("hidden_size") or loaded.config["dim"])
    heads = int(loaded.config.get("num_attention_heads") or loaded.config["n_heads"])
    with _quiet_logging():
        model = optimizer.optimize_model(str(plain), "bert", num_heads=heads, hidden_size=hidden)
        model.save_model_to_file(str(optimised))


def _optimised_onnx(draft: Path, folder: Path, load: Callable[[], LoadedModel], inputs: Inputs | None) -> None:
    loaded = load()
    optimise(written("onnxruntime", folder, lambda: loaded, inputs), draft, loaded)


def _int8_onnx(draft: Path, folder: Path, load: Callable[[], LoadedModel], inputs: Inputs | None) -> None:
    """Dynamic, of the optimised graph, as ONNX Runtime's documentation advises for transformers."""
    quantization, onnx = importlib.import_module("onnxruntime.quantization"), importlib.import_module("onnx")
    optimised = written("onnxruntime-optimised", folder, load, inputs)
    of_its_own_operators = {"DefaultTensorType": onnx.TensorProto.FLOAT}  # whose outputs' types it can't infer
    with _quiet_logging():
        quantization.quantize_dynamic(
            optimised,
            draft,
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
            extra_options=of_its_own_operators,
        )


def _plain_openvino(draft: Path, folder: Path, load: Callable[[], LoadedModel], inputs: Inputs | None) -> None:
    openvino = importlib.import_module("openvino")
    if inputs is None:
        found = openvino.convert_model(written("onnxruntime", folder, load, inputs))
    else:
        from tuner.importers.pytorch import export, taken_apart  # a second, which only OpenVINO asks for

        batch, seq_len = next(iter(inputs.values())).shape
        found = openvino.convert_model(taken_apart(export(load(), batch, seq_len)))
    openvino.save_model(found, draft, compress_to_fp16=False)


def _int8_openvino(draft: Path, folder: Path, load: Callable[[], LoadedModel], inputs: Inputs | None) -> None:
    """Static, calibrated on sample sentences, as OpenVINO's documentation advises for transformers."""
    nncf, openvino = importlib.import_module("nncf"), importlib.import_module("openvino")
    loaded = load()
    batch, seq_len = _CALIBRATED_AT if inputs is None else next(iter(inputs.values())).shape
    texts = in_batches(loaded, sentences()[:_CALIBRATED], batch, seq_len)
    dataset = nncf.Dataset([[one[name] for name in loaded.input_names] for one in texts])
    plain = openvino.Core().read_model(written("openvino", folder, lambda: loaded, inputs))
    with _quiet_logging():
        model = nncf.quantize(plain, dataset, model_type=nncf.ModelType.TRANSFORMER)
    openvino.save_model(model, draft, compress_to_fp16=False)


def _keras(draft: Path, folder: Path, load: Callable[[], LoadedModel], inputs: Inputs | None) -> None:
    """The weights, of which Keras makes a model. Raises ValueError for one that is not built in Keras here."""
    loaded = load()
    if reason := keras_bert.obstacle(loaded.config, loaded.output_names):
        raise ValueError(f"Keras {reason}")
    weights = {name: value.numpy() for name, value in loaded.network.state_dict().items()}
    keras_bert.save(draft, loaded.config, weights, loaded.output_names)


@contextmanager
def _quiet_logging() -> Iterator[None]:
    """These tools tell of each step, and the quantiser warns of one before it that no encoder needs."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


_WRITE: dict[str, Callable[[Path, Path, Callable[[], LoadedModel], Inputs | None], None]] = {
    "plain.onnx": _plain_onnx,
    "optimised.onnx": _optimised_onnx,
    "int8.onnx": _int8_onnx,
    "plain.xml": _plain_openvino,
    "int8.xml": _int8_openvino,
    "keras": _keras,
}
