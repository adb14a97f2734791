"""What a model that nobody knows is given when it is checked and timed: numbers such as its inputs can mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SAMPLES = 3
SAMPLED = "seeded normal numbers; ids within their embedding, other whole numbers 0 and 1"


@dataclass(frozen=True)
class Given:
    """An input's name, shape and dtype. ``below``: its values are ids from 0 up to it."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    below: int | None = None


def samples(inputs: Sequence[Given]) -> list[dict[str, np.ndarray]]:
    """Three sets of inputs by name; the same ones each time."""
    return [
        {one.name: _values(one, np.random.default_rng([seed, i])) for i, one in enumerate(inputs)}
        for seed in range(SAMPLES)
    ]


def _values(one: Given, rng: np.random.Generator) -> np.ndarray:
    if one.dtype.startswith("float"):
        return rng.standard_normal(one.shape).astype(one.dtype)
    return rng.integers(0, one.below or 2, one.shape).astype(one.dtype)
