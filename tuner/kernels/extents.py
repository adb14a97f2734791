"""Extents that are known only when a kernel runs: how many tokens there are, how many texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm import tirx

from tuner.graph.attention_kernel import attention_of
from tuner.lengths import NOMINAL, POINTS, Weights

Shapes = list[tuple[tuple[int, ...], str]]


def variables(function: Any) -> list[str]:
    """Names of the extents that a function's arguments bring, in the order of their first use."""
    found: dict[str, None] = {}
    for buffer in function.params:
        for extent in buffer.shape:
            if not isinstance(extent, tirx.IntImm):
                found[str(extent)] = None
    return list(found)


def is_symbolic(function: Any) -> bool:
    """Is any extent of the function's arguments known only when it runs?"""
    return bool(variables(function))


def shapes(function: Any, known: Mapping[str, int]) -> Shapes:
    """Shape and dtype of each argument, with numbers for the extents that are not."""
    return [
        (tuple(known[str(e)] if not isinstance(e, tirx.IntImm) else int(e) for e in buffer.shape), str(buffer.dtype))
        for buffer in function.params
    ]


def nominal(function: Any) -> dict[str, int]:
    """The extents of one text."""
    names = variables(function)
    return dict.fromkeys(names, 1) | ({"tokens": NOMINAL} if "tokens" in names else {})


def points(function: Any, weights: Weights) -> list[tuple[Shapes, float]]:
    """The arguments with which a function is timed, and how much each counts in the expected time of a text."""
    names, longest = variables(function), POINTS[-1]
    if (attention := attention_of(function)) is not None:
        counts, longest = weights.text, attention.longest
    else:
        counts = weights.tokens if "tokens" in names else weights.texts
    size = "tokens" if "tokens" in names else "texts"
    known = [dict.fromkeys(names, 1) | {size: min(point, longest)} for point in POINTS]
    return [(shapes(function, one), count) for one, count in zip(known, counts, strict=True)]
