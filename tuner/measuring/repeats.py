"""How often kernels are timed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Repeats:
    """How many times a kernel is timed, and for how long at least each time that it finds its arguments in the caches;
    where they are put elsewhere before, it runs once."""

    count: int = 5
    min_ms: int = 2

    @classmethod
    def of(cls, count: int | None, min_ms: int | None) -> Repeats:
        """What was asked for; None: the usual."""
        return cls(USUAL.count if count is None else count, USUAL.min_ms if min_ms is None else min_ms)

    def as_kept(self, cold_weights: bool) -> dict[str, Any]:
        """As records keep it."""
        min_ms = 0 if cold_weights else self.min_ms
        return {"number": 1, "repeat": self.count, "min_repeat_ms": min_ms, "cold_weights": cold_weights}

    def more_sec(self) -> float:
        """How much longer than usual a candidate may take."""
        return max(0.0, (self.count * self.min_ms - USUAL.count * USUAL.min_ms) / 1e3)


USUAL = Repeats()
