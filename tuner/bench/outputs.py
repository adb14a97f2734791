"""What a contestant computed, whatever its runtime calls it: a fast wrong answer must not win."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tuner.bench.turns import array_of
from tuner.errors import StageFailed
from tuner.importers.comparison import ATOL, RTOL, Comparison, compare
from tuner.schemas.common import Precision


def named_outputs(raw: Any, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Arrays by name from what a runtime returned: arrays by name, or one or several tensors in the order of ``names``.

    OpenVINO maps ports, not names, to arrays, in the model's order; TVM's and PyTorch's tensors know ``numpy``.
    """
    if isinstance(raw, Mapping) and all(isinstance(key, str) for key in raw):
        return {name: array_of(raw[name]) for name in names if name in raw}
    values = raw.values() if isinstance(raw, Mapping) else [raw] if hasattr(raw, "shape") else raw
    return {name: array_of(value) for name, value in zip(names, values, strict=False)}


# Of a lower precision only nonsense is looked for here: what it loses is judged on sentences (importers/fidelity).
_RTOL: dict[Precision, float] = {"fp32": RTOL, "bf16": 0.3, "fp16": 0.3, "int8": 2.0}


def checked(variant: str, raw: Any, reference: Mapping[str, np.ndarray], precision: Precision = "fp32") -> Comparison:
    """How far a contestant's outputs are from PyTorch's. Raises StageFailed when they are out of tolerance."""
    found = compare(named_outputs(raw, list(reference)), reference, rtol=_RTOL[precision])
    if not found.ok:
        raise StageFailed(
            f"{variant} computes something else than PyTorch: absolute error {found.max_abs_error:.2e}, "
            f"relative {found.max_rel_error:.2e}; tolerated are {ATOL:g} or {_RTOL[precision]:g}.",
            "Its time would mean nothing. Leave it out, or see that it computes in float32.",
        )
    return found
