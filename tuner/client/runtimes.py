"""A classifier by one runtime or another: the artifact, PyTorch, ONNX Runtime, OpenVINO; each opened from files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tuner.artifact.fitting import Shape, parts
from tuner.bench.runtimes import how_to_install, onnxruntime_session, openvino_compiled
from tuner.errors import InvalidInput

PACKAGES: dict[str, tuple[str, ...]] = {
    "tuned": (),
    "torch": ("torch",),
    "onnxruntime": ("onnxruntime", "onnx"),
    "openvino": ("openvino",),
}
Logits = Callable[[dict[str, np.ndarray]], np.ndarray]
_GRAPH = "model.onnx"


def check_installed(backend: str) -> None:
    """Raises InvalidInput for a backend that lacks a package."""
    if command := how_to_install(PACKAGES[backend]):
        raise InvalidInput(f"{backend} is not installed.", f"Run: {command}")


def files_for(backend: str, artifact: Path, model: Path | None, scratch: Path) -> Path:
    """What ``opened`` opens: the artifact, the model's folder, or a graph that is written into ``scratch``.

    Raises InvalidInput where the model's own files are needed and ``model`` is None, and what loading them raises.
    """
    if backend == "tuned":
        return artifact
    if model is None:
        raise InvalidInput(f"{backend} computes the model itself, whose files are not here.", "Give --model FOLDER.")
    if backend == "torch":
        return model
    graph = scratch / _GRAPH
    if not graph.is_file():
        from tuner.bench.graphs import onnx_for_any_length

        graph.write_bytes(onnx_for_any_length(_loaded(model)))
    return graph


def opened(backend: str, place: Path, threads: int) -> Logits:
    """Logits ``(texts, labels)`` for arrays ``(texts, length)`` by input name, as tokenizers pad them."""
    return _OPEN[backend](place, threads)


def _tuned(place: Path, threads: int) -> Logits:
    from tuner.artifact.loader import load

    runner = load(place)
    names = [spec["name"] for spec in runner.inputs]
    if runner.manifest.get("texts"):
        return lambda given: np.asarray(
            runner.run(input_ids=given["input_ids"], attention_mask=given["attention_mask"])["logits"]
        )
    batch, seq_len = runner.inputs[0]["shape"]
    shape = Shape(batch, seq_len, {})

    def call(given: dict[str, np.ndarray]) -> np.ndarray:
        arrays = {name: given[name] for name in names}
        found = [runner.run(**part.inputs)["logits"][: part.rows] for part in parts(arrays, shape)]
        return np.concatenate(found)

    return call


def _torch(place: Path, threads: int) -> Logits:
    import torch

    from tuner.importers.wrapper import variant

    torch.set_num_threads(threads)
    loaded = _loaded(place)
    module = variant(loaded, "sdpa")

    def call(given: dict[str, np.ndarray]) -> np.ndarray:
        with torch.inference_mode():
            return np.asarray(module(*(torch.from_numpy(given[name]) for name in loaded.input_names))[0])

    return call


def _onnxruntime(place: Path, threads: int) -> Logits:
    session = onnxruntime_session(place, threads)
    names = [one.name for one in session.get_inputs()]
    return lambda given: np.asarray(session.run(None, {name: given[name] for name in names})[0])


def _openvino(place: Path, threads: int) -> Logits:
    compiled = openvino_compiled(place, threads)
    names = [one.get_any_name() for one in compiled.inputs]
    return lambda given: np.asarray(compiled([given[name] for name in names])[0])


_OPEN: Mapping[str, Callable[[Path, int], Logits]] = {
    "tuned": _tuned,
    "torch": _torch,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
}


def _loaded(folder: Path) -> Any:
    from tuner.importers.huggingface import load_torch
    from tuner.importers.snapshot import Fetched
    from tuner.importers.source import resolve_source

    source = resolve_source(str(folder), False, "sequence-classification")
    return load_torch(Fetched(source, source.folder))
