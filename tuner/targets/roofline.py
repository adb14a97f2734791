"""The roofline: what a device lets a kernel reach at its arithmetic intensity (Williams et al., CACM 2009). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Peak:
    """The most a device does: floating-point operations in GFLOPS, reading from memory in GB/s."""

    gflops: float
    gb_per_sec: float
    source: Literal["measured", "computed"] = "measured"

    def attainable_gflops(self, intensity: float) -> float:
        """At this many FLOPs per byte of memory traffic."""
        return min(self.gflops, intensity * self.gb_per_sec)

    @property
    def ridge(self) -> float:
        """FLOPs per byte from which arithmetic, not memory, is the limit."""
        return self.gflops / self.gb_per_sec

    def as_fact(self) -> dict[str, float]:
        """For the facts of the device it was measured on."""
        return {"gflops": round(self.gflops, 1), "gb_per_sec": round(self.gb_per_sec, 1)}


def peak_of(facts: Mapping[str, Any]) -> Peak | None:
    """A device's peak from its facts; None while it has not been measured."""
    peak = facts.get("peak")
    return Peak(peak["gflops"], peak["gb_per_sec"]) if peak else None
