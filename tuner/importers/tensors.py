"""What goes in and comes out of a module, as its manifest says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.importers.families import FAMILIES

if TYPE_CHECKING:
    from tuner.importers.huggingface import LoadedModel


@dataclass(frozen=True)
class Tensor:
    """Name, shape and dtype of an input or output; of an input, what the model has a meaning for.

    ``below``: whole numbers from 0 up to it. ``padding``: on which side it has to be.
    """

    name: str
    shape: list[int | str]
    dtype: str
    below: int | None = None
    padding: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For a manifest: what is not known is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def of_arrays(names: tuple[str, ...], arrays: Mapping[str, np.ndarray]) -> list[Tensor]:
    """As the arrays are."""
    return [Tensor(name, list(arrays[name].shape), str(arrays[name].dtype)) for name in names]


def bounded(loaded: LoadedModel, inputs: list[Tensor]) -> list[Tensor]:
    """Inputs of a model with what it has a meaning for, and the side of padding where only one is computed as the
    library does."""
    config = loaded.config
    below = {"input_ids": config["vocab_size"], "token_type_ids": config.get("type_vocab_size"), "attention_mask": 2}
    side = {"attention_mask": "right"} if FAMILIES[loaded.source.family].right_only else {}
    return [replace(one, below=below.get(one.name), padding=side.get(one.name)) for one in inputs]


def text_inputs(names: tuple[str, ...]) -> list[Tensor]:
    """As ``RaggedModule`` takes them."""
    kept = ["input_ids", "positions", "starts", *(name for name in names if name == "token_type_ids")]
    return [Tensor(name, ["texts" if name == "starts" else "tokens"], "int32") for name in kept]


def text_outputs(names: tuple[str, ...], arrays: Mapping[str, np.ndarray]) -> list[Tensor]:
    """As ``RaggedModule`` gives them, of arrays of padded texts."""
    return [
        Tensor(name, ["tokens" if arrays[name].ndim == 3 else "texts", arrays[name].shape[-1]], "float32")
        for name in names
    ]
