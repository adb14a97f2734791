"""What a device lets a kernel reach."""

from __future__ import annotations

import pytest

from tuner.targets.roofline import Peak, peak_of

PEAK = Peak(gflops=530.0, gb_per_sec=42.0)


@pytest.mark.parametrize(("intensity", "gflops"), [(0.5, 21.0), (PEAK.ridge, 530.0), (1000.0, 530.0)])
def test_memory_limits_below_the_ridge_and_arithmetic_above(intensity: float, gflops: float) -> None:
    assert PEAK.attainable_gflops(intensity) == pytest.approx(gflops)


def test_a_peak_survives_as_a_fact() -> None:
    assert peak_of({"cpu": "any", "peak": PEAK.as_fact()}) == PEAK
    assert peak_of({"cpu": "any"}) is None
