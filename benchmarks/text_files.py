"""``python -m benchmarks.text_files MODEL FOLDER``: a model as files that the peers of the benchmark of texts load."""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from pathlib import Path

import torch

from benchmarks import llama
from benchmarks.gguf_file import refusal, write_gguf
from benchmarks.text_contestant import ABOUT, GGUF, ONNX, OPENVINO, OPTIMISED
from tuner.bench.graphs import optimise
from tuner.importers.huggingface import LoadedModel, load_torch
from tuner.importers.snapshot import borrowed
from tuner.importers.source import resolve_source
from tuner.importers.wrapper import variant


def write_files(loaded: LoadedModel, folder: Path) -> None:
    """ONNX with dynamic axes, the same optimised by ONNX Runtime's tool, OpenVINO's form, a GGUF, what they hold."""
    openvino = importlib.import_module("openvino")
    folder.mkdir(parents=True, exist_ok=True)
    example = torch.ones((2, 7), dtype=torch.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter calls itself deprecated; the newer one needs onnxscript
        torch.onnx.export(
            variant(loaded, "eager"),
            tuple(example for _ in loaded.input_names),
            folder / ONNX,
            input_names=list(loaded.input_names),
            output_names=list(loaded.output_names),
            dynamic_axes={name: {0: "batch", 1: "seq"} for name in loaded.input_names},
            opset_version=17,
            dynamo=False,
        )
    optimise(folder / ONNX, folder / OPTIMISED, loaded)
    openvino.save_model(openvino.convert_model(folder / ONNX), folder / OPENVINO, compress_to_fp16=False)
    refused = refusal(loaded.config)
    if not refused and llama.is_here():
        params = {name: value.numpy(force=True) for name, value in loaded.network.named_parameters()}
        write_gguf(loaded.config, params, folder / GGUF)
    about = {"inputs": loaded.input_names, "vocabulary": int(loaded.config["vocab_size"]), "weights": loaded.weights}
    about["refused"] = {llama.NAME: refused} if refused else {}
    (folder / ABOUT).write_text(json.dumps(about))


def main() -> None:
    """Entry of the process."""
    model, folder = sys.argv[1], Path(sys.argv[2])
    with borrowed(resolve_source(model), folder / "sources") as fetched:
        write_files(load_torch(fetched, 0), folder)


if __name__ == "__main__":
    main()
