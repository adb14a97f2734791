"""What is kept of many timings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Stats:
    """Median, 10th and 90th percentile of ``n`` runs, in milliseconds."""

    median_ms: float
    p10_ms: float
    p90_ms: float
    n: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def summarise(times_ms: Sequence[float]) -> Stats:
    """Percentiles by linear interpolation; raises ``ValueError`` without any time."""
    if not times_ms:
        raise ValueError("no timings to summarise")
    median, p10, p90 = np.percentile(times_ms, [50, 10, 90])
    return Stats(float(median), float(p10), float(p90), len(times_ms))
