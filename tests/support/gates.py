"""A product with a gate, as the graph pipeline leaves it."""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import te, tirx


def gated(rows: Any, columns: int, depth: int) -> Any:
    """``one * relu(other)`` of the halves of ``left @ constant + bias``."""
    shapes = {"left": (rows, depth), "constant": (depth, 2 * columns), "bias": (2 * columns,)}
    left, constant, bias = (te.placeholder(shape, name=name) for name, shape in shapes.items())
    k, zero = te.reduce_axis((0, depth), "k"), tirx.const(0.0, "float32")
    both = (rows, 2 * columns)
    sums = te.compute(both, lambda i, j: te.sum(left[i, k] * constant[k, j], axis=k), name="sums")
    added = te.compute(both, lambda i, j: sums[i, j] + bias[j], name="added")
    gate = te.compute((rows, columns), lambda i, j: te.max(added[i, j + columns], zero), name="gate")
    out = te.compute((rows, columns), lambda i, j: added[i, j] * gate[i, j], name="out")
    function = te.create_prim_func([left, constant, bias, out]).with_attr("layout_free_buffers", [1])
    return tvm.IRModule({"main": function.with_attr({"global_symbol": "main", "tirx.noalias": True})})


def gated_by_numpy(left: np.ndarray, constant: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """What it computes, in float64."""
    one, other = np.split(left.astype("float64") @ constant + bias, 2, axis=1)
    return np.asarray(one * np.maximum(other, 0.0))
