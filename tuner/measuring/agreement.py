"""Is an output the one that is wanted? Pure."""

from __future__ import annotations

import numpy as np

_LEAST_ROW = 1e-2  # of the largest output: rows below are judged as if they reached it


def difference(result: np.ndarray, wanted: np.ndarray, tolerance: float) -> str:
    """What is wrong with an output, in words; empty when nothing is.

    Infinities of each sign and NaN must be where they are wanted. Other values may be off by ``tolerance`` of the
    largest of their row, or of a hundredth of the largest of all: rounding of sums that cancel out is no error.
    """
    for is_special in (np.isnan, np.isposinf, np.isneginf):
        if not np.array_equal(is_special(wanted), is_special(result)):
            return "it has infinities or NaN where the workload has none, or others"
    finite = np.isfinite(wanted)
    magnitude = np.abs(np.where(finite, wanted, 0.0)).astype(np.float64)
    rows = magnitude.max(axis=-1, keepdims=True, initial=0.0) if magnitude.ndim else magnitude
    scale = np.maximum(rows, _LEAST_ROW * magnitude.max(initial=0.0))
    off = np.abs(np.where(finite, wanted, 0.0).astype(np.float64) - np.where(finite, result, 0.0))
    error = float((off / np.where(scale > 0.0, scale, 1.0)).max(initial=0.0))
    return f"its outputs are off by {error:.2e} of the largest (tolerated: {tolerance:g})" if error > tolerance else ""
