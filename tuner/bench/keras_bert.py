"""BERT in Keras 3 with the weights of the library's, as far as its encoder and a classifier of texts go.

It runs in a Python that has Keras and TensorFlow, and little else.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]
WEIGHTS, ABOUT = "weights.npz", "about.json"
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_ACTIVATIONS = {"gelu": False, "gelu_new": True, "gelu_pytorch_tanh": True}  # does it go by the approximation?


def obstacle(config: Mapping[str, Any], outputs: tuple[str, ...]) -> str:
    """Why a model of the library is none that is built here; empty: it is one."""
    if config.get("model_type") != "bert":
        return f"is built for models of the family bert, and this one is {config.get('model_type')}"
    if config.get("hidden_act") not in _ACTIVATIONS:
        return f"is built for GELU, and this model has {config.get('hidden_act')}"
    known = {("last_hidden_state", "pooler_output"), ("last_hidden_state",), ("logits",)}
    return "" if outputs in known else f"has no head that gives {', '.join(outputs)}"


def save(folder: Path, config: Mapping[str, Any], weights: Arrays, outputs: tuple[str, ...]) -> None:
    """Write what ``build`` reads. ``weights`` are by the library's names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = ("num_hidden_layers", "num_attention_heads", "layer_norm_eps", "hidden_act")
    np.savez(folder / WEIGHTS, **{name.removeprefix("bert."): value for name, value in weights.items()})  # type: ignore[arg-type]
    (folder / ABOUT).write_text(json.dumps({name: config[name] for name in names} | {"outputs": outputs}))


def build(folder: Path) -> tuple[Any, list[str]]:
    """A model of Keras that takes a dictionary of ``INPUTS`` ``(texts, length)``, and the names of its outputs."""
    keras: Any = importlib.import_module("keras")
    about = json.loads((folder / ABOUT).read_text())
    with np.load(folder / WEIGHTS) as arrays:
        weights = dict(arrays)
    built = _Builder(keras, weights, about)
    given = {name: keras.Input((None,), dtype="int32", name=name) for name in INPUTS}
    hidden = built.embedded(given)
    seen = keras.ops.expand_dims(keras.ops.cast(given["attention_mask"], "bool"), 1)
    for number in range(about["num_hidden_layers"]):
        hidden = built.layer(f"encoder.layer.{number}", hidden, seen)
    outputs = about["outputs"]
    results = [hidden] if outputs[0] == "last_hidden_state" else []
    if outputs != ["last_hidden_state"]:
        pooled = keras.ops.tanh(built.dense("pooler.dense", hidden[:, 0]))
        results.append(built.dense("classifier", pooled) if outputs == ["logits"] else pooled)
    model = keras.Model(given, results)
    built.fill()
    return model, list(outputs)


class _Builder:
    """Layers by the library's names, and the weights that they are to have."""

    def __init__(self, keras: Any, weights: Arrays, about: Mapping[str, Any]) -> None:
        self._keras = keras
        self._weights = weights
        self._about = about
        self._wanted: list[tuple[Any, list[np.ndarray]]] = []

    def fill(self) -> None:
        """Give the layers, which are built by now, their weights."""
        for layer, values in self._wanted:
            layer.set_weights(values)

    def embedded(self, given: Mapping[str, Any]) -> Any:
        """``(texts, length, hidden)`` for token ids and segments."""
        ops = self._keras.ops
        positions = ops.cumsum(ops.ones_like(given["input_ids"]), axis=1) - 1
        parts = [
            self._embedding("word_embeddings", given["input_ids"]),
            self._embedding("token_type_embeddings", given["token_type_ids"]),
            self._embedding("position_embeddings", positions),
        ]
        return self._norm("embeddings.LayerNorm", parts[0] + parts[1] + parts[2])

    def layer(self, name: str, hidden: Any, seen: Any) -> Any:
        """One of the encoder's."""
        hidden = self._norm(f"{name}.attention.output.LayerNorm", hidden + self._attention(name, hidden, seen))
        wide = self.dense(f"{name}.intermediate.dense", hidden)
        wide = self._keras.ops.gelu(wide, approximate=_ACTIVATIONS[self._about["hidden_act"]])
        return self._norm(f"{name}.output.LayerNorm", hidden + self.dense(f"{name}.output.dense", wide))

    def dense(self, name: str, values: Any) -> Any:
        """A product by weights, whose library keeps them transposed."""
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return self._made(self._keras.layers.Dense(weight.shape[0]), [weight.T, bias])(values)

    def _attention(self, name: str, hidden: Any, seen: Any) -> Any:
        heads = self._about["num_attention_heads"]
        width = self._weights[f"{name}.attention.output.dense.weight"].shape[0]
        each = width // heads
        values = []
        for part in ("query", "key", "value"):
            own = f"{name}.attention.self.{part}"
            values.append(self._weights[f"{own}.weight"].T.reshape(width, heads, each))
            values.append(self._weights[f"{own}.bias"].reshape(heads, each))
        out = f"{name}.attention.output.dense"
        values += [self._weights[f"{out}.weight"].T.reshape(heads, each, width), self._weights[f"{out}.bias"]]
        layer = self._made(self._keras.layers.MultiHeadAttention(heads, each), values)
        return layer(query=hidden, value=hidden, key=hidden, attention_mask=seen)

    def _embedding(self, name: str, ids: Any) -> Any:
        table = self._weights[f"embeddings.{name}.weight"]
        return self._made(self._keras.layers.Embedding(*table.shape), [table])(ids)

    def _norm(self, name: str, values: Any) -> Any:
        own = [self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]]
        return self._made(self._keras.layers.LayerNormalization(epsilon=self._about["layer_norm_eps"]), own)(values)

    def _made(self, layer: Any, values: list[np.ndarray]) -> Any:
        self._wanted.append((layer, values))
        return layer
