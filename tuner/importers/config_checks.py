"""Is a model's configuration one that we compute? What it asks for beyond that is refused by the name of its field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from tuner.errors import ModelInvalid
from tuner.importers.families import FAMILIES

# Fields that turn an encoder into something else.
_DECODING = ("is_decoder", "add_cross_attention", "is_encoder_decoder")
_SIZES = (
    "vocab_size",
    "hidden_size",
    "dim",
    "embedding_size",
    "num_hidden_layers",
    "n_layers",
    "num_attention_heads",
    "n_heads",
    "intermediate_size",
    "hidden_dim",
    "max_position_embeddings",
)
_EPSILONS = ("layer_norm_eps", "norm_eps")


def check_config(file: Path, config: Mapping[str, Any]) -> None:
    """Raise ModelInvalid for what ``config``, read from ``file``, asks for and is not computed, or says wrongly."""
    family = str(config.get("model_type", ""))
    if family not in FAMILIES:
        raise ModelInvalid(
            f"{file} says model_type {family!r}, which is not supported.",
            f"Supported families: {', '.join(FAMILIES)}.",
        )
    if config.get("auto_map"):
        raise _refused(file, "auto_map", "code of the model's own, which is not run", "Use a model of the library's.")
    for name in _DECODING:
        if config.get(name):
            raise _refused(file, name, f"{config[name]!r}: a decoder", "Only encoders can be compiled.")
    positions = config.get("position_embedding_type") or "absolute"
    if positions != "absolute":
        raise _refused(
            file,
            "position_embedding_type",
            f"{positions!r}, which the library does not compute any more",
            "Only absolute positions are computed for this family.",
        )
    if family == "deberta-v2" and config.get("conv_kernel_size"):
        size = config["conv_kernel_size"]
        raise _refused(file, "conv_kernel_size", f"{size!r}: a convolution", "Only models without one are compiled.")
    for name in _SIZES:
        if name in config and not is_count(config[name]):
            raise _refused(file, name, repr(config[name]), "It must be a whole number above zero.")
    for name in _EPSILONS:
        if name in config and not _is_small(config[name]):
            raise _refused(file, name, repr(config[name]), "It must be a number between 0 and 1.")
    if FAMILIES[family].behind_padding and not is_count(config.get("pad_token_id", 1), least=0):
        raise _refused(
            file, "pad_token_id", repr(config["pad_token_id"]), f"{family} numbers positions from it: give its number."
        )


def is_count(value: object, least: int = 1) -> TypeGuard[int]:
    """Is it a whole number from ``least`` on that 32 bits hold?"""
    return type(value) is int and least <= value < 2**31


def _is_small(value: object) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool) and math.isfinite(value) and 0 < value < 1


def _refused(file: Path, name: str, says: str, hint: str) -> ModelInvalid:
    return ModelInvalid(f"{file} says {name} {says}.", hint)
