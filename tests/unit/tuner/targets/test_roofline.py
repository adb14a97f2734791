"""What a device lets a kernel reach."""

from __future__ import annotations

import pytest

from tuner.targets.roofline import Peak, peak_of

PEAK = Peak(gflops=530.0, gb_per_sec=42.0)


def test_a_unit_beside_the_cores_has_a_peak_of_its_own() -> None:
    apple = Peak(400.0, 60.0, "computed", {"bf16": 800.0}, {"AMX": 1600.0})
    assert (apple.gflops_at("fp32"), apple.gflops_at("bf16"), apple.gflops_at("AMX")) == (400.0, 800.0, 1600.0)
    assert apple.attainable_gflops(100.0, "AMX") == 1600.0
    assert apple.attainable_gflops(100.0, "int8") == 400.0  # not known: as by the cores
    assert apple.gflops_at("int8") is None


@pytest.mark.parametrize(("intensity", "gflops"), [(0.5, 21.0), (PEAK.ridge, 530.0), (1000.0, 530.0)])
def test_memory_limits_below_the_ridge_and_arithmetic_above(intensity: float, gflops: float) -> None:
    assert PEAK.attainable_gflops(intensity) == pytest.approx(gflops)


def test_a_peak_survives_as_a_fact() -> None:
    assert peak_of({"cpu": "any", "peak": PEAK.as_fact()}) == PEAK
    assert peak_of({"cpu": "any"}) is None


def test_each_precision_has_a_peak_of_its_own_where_it_was_measured() -> None:
    peak = Peak(530.0, 42.0, lower={"int8": 2100.0})
    assert peak_of({"peak": {**peak.as_fact(), "measured_on": "2026-11-27"}}) == peak
    assert [peak.gflops_at(one) for one in ("fp32", "int8", "bf16")] == [530.0, 2100.0, None]
    assert peak.attainable_gflops(1000.0, "int8") == 2100.0
    assert peak.attainable_gflops(10.0, "int8") == peak.attainable_gflops(10.0) == 420.0
