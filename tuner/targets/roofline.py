"""The roofline: what a device lets a kernel reach at its arithmetic intensity (Williams et al., CACM 2009). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

_LOWER = "gflops_"


@dataclass(frozen=True)
class Peak:
    """The most a device does: operations in GFLOPS (of float32 by its cores, of the ``lower`` precisions that are
    measured, and of float32 by ``units`` beside the cores), reading from memory in GB/s."""

    gflops: float
    gb_per_sec: float
    source: Literal["measured", "computed"] = "measured"
    lower: Mapping[str, float] = field(default_factory=dict, hash=False)
    units: Mapping[str, float] = field(default_factory=dict, hash=False)

    def attainable_gflops(self, intensity: float, means: str = "fp32") -> float:
        """At this many FLOPs per byte of memory traffic; of a precision whose peak is not measured, as of float32."""
        return min(self.gflops_at(means) or self.gflops, intensity * self.gb_per_sec)

    def gflops_at(self, means: str) -> float | None:
        """At a precision, or by a unit; None where that is not known."""
        return self.gflops if means == "fp32" else {**self.lower, **self.units}.get(means)

    @property
    def ridge(self) -> float:
        """FLOPs per byte from which arithmetic, not memory, is the limit."""
        return self.gflops / self.gb_per_sec

    def as_fact(self) -> dict[str, float]:
        """For the facts of the device it was measured on."""
        lower = {f"{_LOWER}{precision}": round(gflops, 1) for precision, gflops in self.lower.items()}
        return {"gflops": round(self.gflops, 1), "gb_per_sec": round(self.gb_per_sec, 1), **lower}


def peak_of(facts: Mapping[str, Any]) -> Peak | None:
    """A device's peak from its facts; None while it has not been measured."""
    peak = facts.get("peak")
    if not peak:
        return None
    lower = {name.removeprefix(_LOWER): value for name, value in peak.items() if name.startswith(_LOWER)}
    return Peak(peak["gflops"], peak["gb_per_sec"], lower=lower)
