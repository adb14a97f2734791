"""An encoder of BERT's type as a GGUF, the file that llama.cpp loads: float32, without a vocabulary, as it gets ids."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_ARCHITECTURE = "bert"
_NO_VOCABULARY = "no_vocab"
_LEFT_OUT = ("pooler.", "embeddings.position_ids")  # of a network: what comes after token vectors, and what it counts


def refusal(config: Mapping[str, Any]) -> str:
    """Why llama.cpp does not take a model with this configuration as it is; empty: it does."""
    if (family := config.get("model_type")) != _ARCHITECTURE:
        return f"it is written here for models of type {_ARCHITECTURE}, and this one is of type {family}"
    if (kind := config.get("position_embedding_type", "absolute")) != "absolute":
        return f"it knows absolute positions of a {_ARCHITECTURE} only, and this one's are {kind}"
    if (act := config.get("hidden_act")) != "gelu":
        return f"its {_ARCHITECTURE} computes gelu, and this one {act}"
    return ""


def put_into(writer: Any, config: Mapping[str, Any], params: Mapping[str, np.ndarray]) -> None:
    """Tell a ``gguf.GGUFWriter`` what a network of type bert is, with its parameters by their names in transformers.

    Raises KeyError for a parameter that llama.cpp has no place for.
    """
    gguf = importlib.import_module("gguf")
    layers = int(config["num_hidden_layers"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_block_count(layers)
    writer.add_context_length(int(config["max_position_embeddings"]))
    writer.add_embedding_length(int(config["hidden_size"]))
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_head_count(int(config["num_attention_heads"]))
    writer.add_layer_norm_eps(float(config["layer_norm_eps"]))
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.NONE)
    writer.add_tokenizer_model(_NO_VOCABULARY)
    writer.add_vocab_size(int(config["vocab_size"]))
    writer.add_token_type_count(int(config["type_vocab_size"]))
    places = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, layers)
    for name, values in params.items():
        if name.startswith(_LEFT_OUT):
            continue
        place = places.get_name(name, try_suffixes=(".weight", ".bias"))
        if place is None:
            raise KeyError(name)
        writer.add_tensor(place, np.ascontiguousarray(values, np.float32))


def write_gguf(config: Mapping[str, Any], params: Mapping[str, np.ndarray], file: Path) -> None:
    """Write the file."""
    writer = importlib.import_module("gguf").GGUFWriter(file, _ARCHITECTURE)
    try:
        put_into(writer, config, params)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()
