"""A file of an encoder becomes the folder that it was exported from, as the library reads one. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tuner.importers.families import FAMILIES, head_of
from tuner.importers.folder import SAFETENSORS
from tuner.importers.onnx.embedding import modules_of, write_modules
from tuner.importers.onnx.graph import Graph, read, sound
from tuner.importers.onnx.recognise import classes, deduced_config, head_of_weights, library_names
from tuner.importers.onnx.weights import named_weights
from tuner.importers.programs.archive import check_program
from tuner.importers.programs.weights import program_weights
from tuner.importers.sentence import HEAD as EMBEDDING
from tuner.schemas.common import Head

FORM = 2  # of what is made of a file: raise it when another folder is made of the same one


def convert(file: Path, config: Mapping[str, Any] | None, folder: Path) -> Head | None:
    """Write ``config.json`` and weights of the encoder in an ``.onnx`` file into ``folder``, and the modules behind it
    where it makes one vector of each text; its head.

    None, and nothing written, for a graph that is none of ``families``.
    ``config``: what lies beside the file; without it sizes are told from the graph, for the families where that can be.
    Raises what reading raises: ModelInvalid, OperatorsUnsupported.
    """
    with sound(file):
        graph = read(file)
        modules = modules_of(graph)
        of_modules = {name for module in modules for name in module.names}
        named = {name: value for name, value in named_weights(graph).items() if name not in of_modules}
        weights = _by_library_names(named)
        if config is None or str(config.get("model_type")) not in FAMILIES:
            config = deduced_config({name: value.shape for name, value in weights.items()}, graph) if weights else None
        if config is None or not weights:
            return None
        head = head_of_weights(weights, _output_rank(graph))
    _write(folder, weights, config, head)
    if head != "encoder" or not modules:
        return head
    write_modules(folder, modules)
    return EMBEDDING


def convert_program(file: Path, config: Mapping[str, Any] | None, folder: Path) -> Head | None:
    """The same of a ``.pt2`` file, which keeps all names; that is done only where a configuration lies beside it."""
    check_program(file)
    weights = _by_library_names(program_weights(file)) if config else {}
    if config is None or not weights:
        return None
    told = head_of(config)
    head = head_of_weights(weights, 3 if told == "token-classification" else 2)
    _write(folder, weights, config, head)
    return head


def _by_library_names(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    names = library_names(weights)
    return {names[name]: value for name, value in weights.items()} if names else {}


def _write(folder: Path, weights: dict[str, np.ndarray], config: Mapping[str, Any], head: Head) -> None:
    shapes = {name: value.shape for name, value in weights.items()}
    described = {name: value for name, value in config.items() if name != "architectures"}
    if head in ("sequence-classification", "token-classification") and (count := classes(shapes)):
        labels = described.get("id2label")
        if not isinstance(labels, dict) or len(labels) != count:
            described = {name: value for name, value in described.items() if name not in ("id2label", "label2id")}
            described["num_labels"] = count
    (folder / "config.json").write_text(json.dumps(described, indent=1))
    save_file(weights, folder / SAFETENSORS, metadata={"format": "pt"})


def _output_rank(graph: Graph) -> int | None:
    kind = graph.model.graph.output[0].type.tensor_type
    return len(kind.shape.dim) if kind.HasField("shape") else None
