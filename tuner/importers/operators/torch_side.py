"""Operators as PyTorch computes them: the reference for outputs, and the contestant in comparisons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch.nn import functional

from tuner.importers.operators.catalog import Operator

Function = Callable[..., torch.Tensor]


def _batch_gemm(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.matmul(x, y.transpose(1, 2))


def _swish_gemm(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return functional.hardswish(functional.linear(a, b), inplace=True)


def _conv2d(x: torch.Tensor, z: torch.Tensor, stride: int, padding: int) -> torch.Tensor:
    return functional.conv2d(x, z, stride=stride, padding=padding)


_FUNCTIONS: dict[str, Function] = {"gemm": functional.linear, "swish_gemm": _swish_gemm, "batch_gemm": _batch_gemm}
_PRODUCTS: dict[str, Function] = {"swish_gemm": functional.linear}


def function(operator: Operator) -> Function:
    """The whole operator; takes its inputs in order."""
    if operator.kind.name == "conv2d":
        stride, padding = operator.args[-2:]
        return partial(_conv2d, stride=stride, padding=padding)
    return _FUNCTIONS[operator.kind.name]


def product(operator: Operator) -> Function | None:
    """The matrix product alone of an operator that does more than that; None when it is the whole."""
    return _PRODUCTS.get(operator.kind.name)


def computed(operator: Operator, arguments: Sequence[np.ndarray]) -> np.ndarray:
    """The operator's output for these inputs in order."""
    with torch.inference_mode():
        return function(operator)(*map(torch.from_numpy, arguments)).numpy()
