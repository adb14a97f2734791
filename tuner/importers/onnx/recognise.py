"""Which model of the library a graph is: its configuration and head, from the names and shapes of its parameters.

What is told here is a guess, from patterns: whether the network computes what the graph does is proven afterwards.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tuner.importers.onnx.graph import Graph
from tuner.schemas.common import Head

Shapes = Mapping[str, tuple[int, ...]]

_WORDS = re.compile(r"(?P<prefix>(?:.+\.)?)embeddings\.(?P<words>word|tok)_embeddings\.weight")
_LAYER = re.compile(r"\.layer\.(\d+)\.")
# How the library begins the names of an encoder's parameters in a model with a head.
_BASES = ("albert", "bert", "deberta", "distilbert", "electra", "mpnet", "nomic_bert", "roberta")
_MODERN_BASE = "model"  # of ModernBERT, and what many call a model within a module of their own
_LANGUAGE_HEADS = {"cls", "decoder", "generator_lm_head", "lm_head", "predictions", "vocab_projector"}
_CLASSIFIERS = {"classifier"}


@dataclass(frozen=True)
class _Names:
    """What parameters of a layer are called, as patterns, and the configuration's words for the sizes they tell."""

    query: str
    wide: str
    hidden_size: str = "hidden_size"
    layers: str = "num_hidden_layers"
    heads: str = "num_attention_heads"
    wide_size: str = "intermediate_size"
    activation: str = "hidden_act"


_BERT = _Names(
    r"encoder\.layer\.\d+\.attention\.self\.query\.weight", r"encoder\.layer\.\d+\.intermediate\.dense\.weight"
)
_KNOWN: Mapping[str, _Names] = {
    "albert": _Names(r"albert_layers\.0\.attention\.query\.weight", r"albert_layers\.0\.ffn\.weight"),
    "distilbert": _Names(
        r"transformer\.layer\.\d+\.attention\.q_lin\.weight",
        r"transformer\.layer\.\d+\.ffn\.lin1\.weight",
        *("dim", "n_layers", "n_heads", "hidden_dim", "activation"),
    ),
    "mpnet": _Names(r"encoder\.layer\.\d+\.attention\.attn\.q\.weight", _BERT.wide),
    "bert": _BERT,
}


def library_names(names: Iterable[str]) -> dict[str, str]:
    """The library's names for those of an exported network, which may have been part of another module; empty: it is
    no encoder of the library's."""
    names = list(names)
    found = next((match for name in names if (match := _WORDS.fullmatch(name))), None)
    if found is None:
        return {}
    *outer, last = found["prefix"].removesuffix(".").split(".")
    is_base = last in _BASES or (last == _MODERN_BASE and found["words"] == "tok")
    around = "".join(f"{part}." for part in (*outer, *([last] if last and not is_base else [])))
    return {name: name.removeprefix(around) for name in names}


def head_of_weights(names: Iterable[str], output_rank: int | None) -> Head:
    """The head that the parameters belong to; of a classifier the rank of its output tells whether it is of tokens."""
    parts = {part for name in names for part in name.split(".")[:2]}
    if "qa_outputs" in parts:
        return "question-answering"
    if parts & _CLASSIFIERS:
        return "token-classification" if output_rank == 3 else "sequence-classification"
    return "masked-lm" if parts & _LANGUAGE_HEADS else "encoder"


def deduced_config(shapes: Shapes, graph: Graph) -> dict[str, Any] | None:
    """The configuration of a network with these parameters; None for a family whose sizes they don't tell."""
    for family, names in _KNOWN.items():  # noqa: B007
        query = next((shape for name, shape in shapes.items() if re.search(names.query, name)), None)
        wide = next((shape for name, shape in shapes.items() if re.search(names.wide, name)), None)
        head_size = _head_size(graph, query[0]) if query and wide else None
        if query and wide and head_size:
            break
    else:
        return None
    words, positions, segments = (
        _ending(shapes, f"embeddings.{name}.weight")
        for name in ("word_embeddings", "position_embeddings", "token_type_embeddings")
    )
    if words is None or positions is None:
        return None
    numbers = [int(match[1]) for name in shapes if (match := _LAYER.search(name))]
    softmaxes = sum(node.op_type == "Softmax" for node in graph.nodes)  # ALBERT's layers are one that is used again
    config: dict[str, Any] = {
        "model_type": _variant(family, shapes, graph),
        "vocab_size": words[0],
        "max_position_embeddings": positions[0],
        names.hidden_size: query[0],
        names.layers: max(numbers) + 1 if numbers else softmaxes,
        names.heads: query[0] // head_size,
        names.wide_size: wide[0],
        names.activation: _activation(graph),
        "layer_norm_eps": _epsilon(graph),
        "pad_token_id": _padding(graph),
    }
    if segments:
        config["type_vocab_size"] = segments[0]
    if config["model_type"] in ("albert", "electra"):
        config["embedding_size"] = words[1]
    return config


def classes(shapes: Shapes) -> int | None:
    """How many classes a classifier's bias has."""
    ends = ("classifier.bias", "classifier.out_proj.bias")
    return next((shape[0] for name, shape in shapes.items() if name.endswith(ends) and shape), None)


def _ending(shapes: Shapes, ending: str) -> tuple[int, ...] | None:
    return next((shape for name, shape in shapes.items() if name.endswith(ending)), None)


def _variant(family: str, shapes: Shapes, graph: Graph) -> str:
    """Of families whose layers have BERT's names: ELECTRA tells by its own, RoBERTa counts its positions."""
    if family != "bert":
        return family
    if any(name.startswith("electra.") or "embeddings_project" in name for name in shapes):
        return "electra"
    if any(name.startswith("roberta.") for name in shapes) or any(node.op_type == "CumSum" for node in graph.nodes):
        return "roberta"
    return "bert"


def _head_size(graph: Graph, hidden: int) -> int | None:
    """The last extent of what activations are reshaped to where heads are split."""
    made = {node.output[0]: node for node in graph.nodes if node.op_type == "Concat"}
    found: Counter[int] = Counter()
    for node in graph.nodes:
        if node.op_type != "Reshape":
            continue
        extents = graph.value(node.input[1])
        if extents is None and node.input[1] in made:
            pieces = made[node.input[1]].input
            last = graph.value(pieces[-1])
            extents = None if last is None or len(pieces) != 4 else last.reshape(-1)
        elif extents is not None and extents.size != 4:
            extents = None
        if extents is not None and extents.size and 0 < (size := int(extents[-1])) < hidden and hidden % size == 0:
            found[size] += 1
    return found.most_common(1)[0][0] if found else None


def _activation(graph: Graph) -> str:
    kinds = {node.op_type for node in graph.nodes}
    by_tanh = any(
        attribute.name == "approximate" and attribute.s == b"tanh"
        for node in graph.nodes
        if node.op_type == "Gelu"
        for attribute in node.attribute
    )
    if by_tanh or any(abs(value - 0.044715) < 1e-4 for value in _scalars(graph, "Mul")):
        return "gelu_new"
    if kinds & {"Erf", "Gelu"}:
        return "gelu"
    return "relu" if "Relu" in kinds else "silu" if "Sigmoid" in kinds else "gelu"


def _epsilon(graph: Graph) -> float:
    """Of the norms: an attribute of theirs, or what is added to a variance before its root is taken."""
    rooted = {node.input[0] for node in graph.nodes if node.op_type == "Sqrt"}
    given = [
        attribute.f
        for node in graph.nodes
        if node.op_type == "LayerNormalization"
        for attribute in node.attribute
        if attribute.name == "epsilon"
    ]
    given += _scalars(graph, "Add", rooted)
    return float(f"{min(given, default=1e-12):.6g}")  # it was rounded to float32


def _scalars(graph: Graph, kind: str, outputs: set[str] | None = None) -> list[float]:
    """Single numbers, given as constants to operators of a kind, those alone that compute ``outputs``."""
    found = []
    for node in graph.nodes:
        if node.op_type != kind or (outputs is not None and node.output[0] not in outputs):
            continue
        values = [value for name in node.input if _is_single(graph, name) and (value := graph.value(name)) is not None]
        found += [float(value.reshape(-1)[0]) for value in values if value.dtype == np.float32]
    return found


def _is_single(graph: Graph, name: str) -> bool:
    tensor = graph.tensors.get(name)
    return tensor is not None and int(np.prod(tensor.dims)) == 1


def _padding(graph: Graph) -> int:
    """What ids are compared with where positions are counted; else the library's default of families that do."""
    ids = {graph.model.graph.input[0].name} if graph.model.graph.input else set()
    for node in graph.nodes:
        if node.op_type == "Equal" and ids & set(node.input):
            for name in node.input:
                value = graph.value(name)
                if value is not None and value.size == 1:
                    return int(value.reshape(-1)[0])
    return 1 if any(node.op_type == "CumSum" for node in graph.nodes) else 0
