"""Texts as vectors, and how alike they are. Numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tuner.errors import InvalidInput

SENTENCE = "sentence_embedding"
_TOKENS = "last_hidden_state"


def vector(outputs: Mapping[str, np.ndarray], pooling: str) -> np.ndarray:
    """One vector ``(features,)`` of a text's outputs: the model's own where it has one; else the ``mean`` of the rows
    of its tokens, or the first (``cls``), of length one.

    Raises InvalidInput when there is neither.
    """
    if SENTENCE in outputs:
        return outputs[SENTENCE]
    if _TOKENS not in outputs:
        raise InvalidInput(
            f"This artifact gives {', '.join(outputs)}: none of them is a vector of a text.",
            "Tune the model as an encoder: tunesmith tune MODEL --head encoder",
        )
    rows = outputs[_TOKENS]
    found = rows[0] if pooling == "cls" else rows.mean(axis=0)
    return found / max(float(np.linalg.norm(found)), 1e-12)


def similarities(vectors: np.ndarray) -> np.ndarray:
    """Cosines of all pairs ``(texts, texts)`` of vectors ``(texts, features)``."""
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    scaled = vectors / lengths
    found: Any = scaled @ scaled.T
    return found
