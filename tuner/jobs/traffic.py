"""Bytes that one launch of a workload moves, read from the summary of its shapes."""

from __future__ import annotations

import math
import re

from tuner.lengths import NOMINAL

_TENSOR = re.compile(r"\b(?:bool|[a-z]+(?P<bits>\d+))\[(?P<shape>[\w,\s]*)\]")
_KNOWN_LATER = {"tokens": NOMINAL}  # extents, of one text


def traffic_bytes(summary: str, weight_bytes: int = 0) -> float:
    """Bytes read and written, from a summary like ``float32[128,768] x float32[768] -> float32[128,768]``; of one text
    of ``NOMINAL`` tokens where lengths vary.

    Never less than ``weight_bytes``, the size of its constant arguments.
    """
    total = 0.0
    for tensor in _TENSOR.finditer(summary):
        names = [extent.strip() for extent in tensor["shape"].split(",") if extent.strip()]
        extents = [int(name) if name.isdecimal() else _KNOWN_LATER.get(name, 1) for name in names]
        total += math.prod(extents) * max(1.0, int(tensor["bits"] or 8) / 8)
    return max(total, float(weight_bytes))
