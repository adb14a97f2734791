"""How far what a module computes is from the reference, and whether that is too far."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

ATOL = 1e-5
RTOL = 1e-3


@dataclass(frozen=True)
class Comparison:
    """How far outputs are from the reference.

    ``max_abs_error`` is the largest ``|got - want|``. ``max_rel_error`` is the largest
    ``|got - want| / max(|want|, rms(want))``: values near zero are judged by the size of their tensor, since dividing
    by themselves would call rounding an error. Both are infinite when a value is not finite, or a tensor is missing
    or of another shape.
    """

    max_abs_error: float
    max_rel_error: float
    ok: bool

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def compare(
    got: Mapping[str, np.ndarray], want: Mapping[str, np.ndarray], rtol: float = RTOL, atol: float = ATOL
) -> Comparison:
    """Compare outputs by name, all positions, padded ones too (both sides compute them from the same numbers).

    ``ok`` when each tensor's every value is, relative as ``Comparison`` says, within ``rtol``; a tensor of nothing but
    zeros has no size to be relative to, and is judged by ``atol``.
    """
    errors = [_error(got.get(name), reference) for name, reference in want.items()]
    return Comparison(
        max_abs_error=max((error.absolute for error in errors), default=math.inf),
        max_rel_error=max((error.relative for error in errors), default=math.inf),
        ok=bool(errors) and all(error.is_within(rtol, atol) for error in errors),
    )


def worst(comparisons: list[Comparison]) -> Comparison:
    """The worst of several samples, the one that the manifest shows."""
    return Comparison(
        max_abs_error=max(c.max_abs_error for c in comparisons),
        max_rel_error=max(c.max_rel_error for c in comparisons),
        ok=all(c.ok for c in comparisons),
    )


class _Error(NamedTuple):
    absolute: float
    relative: float
    of_nothing: bool  # the reference is zero everywhere

    def is_within(self, rtol: float, atol: float) -> bool:
        return self.relative <= rtol or (self.of_nothing and self.absolute <= atol)


def _error(got: np.ndarray | None, want: np.ndarray) -> _Error:
    if got is None or got.shape != want.shape or not np.isfinite(got).all():
        return _Error(math.inf, math.inf, False)
    exact = want.astype(np.float64)
    difference = np.abs(got.astype(np.float64) - exact)
    scale = max(float(np.sqrt(np.mean(exact**2))), np.finfo(np.float32).tiny)
    relative = float((difference / np.maximum(np.abs(exact), scale)).max())
    return _Error(float(difference.max()), relative, not exact.any())
