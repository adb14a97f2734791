"""Random numbers that a device and its host make alike, so that arrays need not be sent."""

from __future__ import annotations

import numpy as np


def uniform(shape: tuple[int, ...], dtype: str, seed: int, low: float, high: float) -> np.ndarray:
    """Values in ``[low, high)`` of a shape and dtype: the same for the same seed, on every machine.

    NumPy keeps what a bit generator gives for a seed (NEP 19) and makes float32 of it by exact steps.
    """
    part = np.random.default_rng(seed).random(shape, dtype=np.float32)
    return (np.float32(low) + part * np.float32(high - low)).astype(dtype)
