"""What is kept of many timings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Stats:
    """Median, 10th and 90th percentile, mean and standard deviation of ``n`` runs, and the median of each round of
    them, in milliseconds."""

    median_ms: float
    p10_ms: float
    p90_ms: float
    mean_ms: float
    std_ms: float
    n: int
    rounds_ms: list[float]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def each_of(self, count: int) -> Stats:
        """Times of so many, such as the texts of a call, as those of one."""
        names = ("median_ms", "p10_ms", "p90_ms", "mean_ms", "std_ms")
        figures = {name: getattr(self, name) / count for name in names}
        return replace(self, **figures, rounds_ms=[one / count for one in self.rounds_ms])


def summarise(rounds: Sequence[Sequence[float]]) -> Stats:
    """Of times in milliseconds, round by round: percentiles by linear interpolation over all of them.

    Raises ``ValueError`` without any time.
    """
    times_ms = [time for times in rounds for time in times]
    if not times_ms:
        raise ValueError("no timings to summarise")
    median, p10, p90 = (float(value) for value in np.percentile(times_ms, [50, 10, 90]))
    mean, std = float(np.mean(times_ms)), float(np.std(times_ms))
    return Stats(median, p10, p90, mean, std, len(times_ms), [float(np.median(times)) for times in rounds])
