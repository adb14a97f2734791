"""Operators as tensor expressions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvm import te, tirx, topi

from tuner.importers.operators.catalog import Operator


@dataclass(frozen=True)
class Definition:
    """A PrimFunc that takes its inputs and then its one result; ``constants`` are the positions of weights among the
    inputs, whose layout the search may choose."""

    func: Any
    constants: tuple[int, ...]


def gemm(m: int, n: int, k: int) -> list[Any]:
    """``c[i, j] = sum_r a[i, r] * b[j, r]``: a (m, k), b (n, k), c (m, n), float32."""
    a, b = te.placeholder((m, k), name="a"), te.placeholder((n, k), name="b")
    r = te.reduce_axis((0, k), name="r")
    return [a, b, te.compute((m, n), lambda i, j: te.sum(a[i, r] * b[j, r], axis=r), name="c")]


def swish_gemm(m: int, n: int, k: int) -> list[Any]:
    """``gemm``, then hard-swish (Howard et al. 2019, "Searching for MobileNetV3"): ``c * clip(c + 3, 0, 6) / 6``.

    The stages are those of the tensor program that logs of ``swish_gemm`` were made with.
    """
    a, b, c = gemm(m, n, k)
    shifted = te.compute(c.shape, lambda i, j: c[i, j] + tirx.const(3.0, c.dtype), name="shifted")
    relu6 = topi.clip(shifted, 0.0, 6.0)
    sixth = tirx.const(1.0 / 6.0, c.dtype)
    return [a, b, te.compute(c.shape, lambda i, j: relu6[i, j] * c[i, j] * sixth, name="hard_swish")]


def batch_gemm(b: int, m: int, n: int, k: int) -> list[Any]:
    """``z[t, i, j] = sum_r x[t, i, r] * y[t, j, r]``: x (b, m, k), y (b, n, k), z (b, m, n), float32."""
    x, y = te.placeholder((b, m, k), name="x"), te.placeholder((b, n, k), name="y")
    r = te.reduce_axis((0, k), name="r")
    return [x, y, te.compute((b, m, n), lambda t, i, j: te.sum(x[t, i, r] * y[t, j, r], axis=r), name="z")]


def conv2d(n: int, c: int, h: int, w: int, f: int, k: int, s: int, p: int) -> list[Any]:
    """``y[n, f, i, j] = sum x[n, c, s*i + k1 - p, s*j + k2 - p] * z[f, c, k1, k2]``, zeros around x: x (n, c, h, w), z
    (f, c, k, k), float32."""
    x, z = te.placeholder((n, c, h, w), name="x"), te.placeholder((f, c, k, k), name="z")
    return [x, z, topi.nn.conv2d_nchw(x, z, stride=s, padding=p, dilation=1)]


_EXPRESSIONS: dict[str, tuple[Callable[..., list[Any]], tuple[int, ...]]] = {
    "gemm": (gemm, (1,)),
    "swish_gemm": (swish_gemm, (1,)),
    "batch_gemm": (batch_gemm, ()),
    "conv2d": (conv2d, (1,)),
}


def define(operator: Operator) -> Definition:
    """The operator's PrimFunc."""
    expression, constants = _EXPRESSIONS[operator.kind.name]
    return Definition(te.create_prim_func(expression(*operator.args)), constants)
