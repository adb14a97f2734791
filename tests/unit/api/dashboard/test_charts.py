"""Chart options are plain data that says the right things."""

from __future__ import annotations

import json

import pytest

from api.dashboard.charts.bars import Bar, bars_in_words, benchmark_bars
from api.dashboard.charts.curve import CurvePoint, curve_in_words, improvements, latency_curve
from api.dashboard.charts.roofline import Dot, roofline, roofline_in_words
from tuner.targets.roofline import Peak

POINTS = [CurvePoint(5, 16, 400.0), CurvePoint(10, 32, 120.0), CurvePoint(15, 48, 130.0), CurvePoint(20, 64, 120.0)]
BARS = [Bar("torch-sdpa", 134.0, 131.0, 140.0), Bar("tuned", 43.0, 42.8, 44.1)]

PEAK = Peak(gflops=500.0, gb_per_sec=40.0)
DOTS = [Dot("gemm", 60.0, 400.0, 0.8), Dot("softmax", 0.6, 4.0, 0.15), Dot("layer_norm", 0.5, 9.0, 0.05)]


def test_curve_keeps_improvements_and_reaches_the_last_round() -> None:
    assert improvements(POINTS) == [CurvePoint(5, 16, 400.0), CurvePoint(10, 32, 120.0), CurvePoint(20, 64, 120.0)]


def test_curve_never_rises() -> None:
    values = [p.ms for p in improvements([CurvePoint(i, i, ms) for i, ms in enumerate((9.0, 11.0, 7.0, 8.0, 7.5))])]
    assert values == sorted(values, reverse=True)


def test_curve_is_ordered_by_time_whatever_the_order_of_the_rounds() -> None:
    assert improvements(POINTS[::-1]) == improvements(POINTS)


def test_curve_of_nothing_has_no_points() -> None:
    assert latency_curve([], None, None)["dataset"]["source"] == []
    assert curve_in_words([]) == "No trial has been measured yet."


def test_curve_tooltip_tells_latency_and_trials() -> None:
    option = latency_curve(POINTS, None, None)
    dimensions, rows = option["dataset"]["dimensions"], option["dataset"]["source"]
    assert option["series"][0]["encode"]["tooltip"] == ["latency", "trials"]
    assert dict(zip(dimensions, rows[1], strict=True)) == {
        "seconds": 10,
        "ms": 120.0,
        "trials": 32,
        "latency": "120 ms",
    }


def test_curve_with_a_wide_span_is_logarithmic_and_a_narrow_one_starts_at_zero() -> None:
    wide = latency_curve(POINTS, None, 43.0)["yAxis"]
    narrow = latency_curve(POINTS[1:], None, None)["yAxis"]
    assert wide["type"] == "log"
    assert (narrow["type"], narrow["min"]) == ("value", 0)


@pytest.mark.parametrize("baseline_ms", [134.0, 187.0, 2000.0])
def test_curve_has_room_for_its_references(baseline_ms: float) -> None:
    axis = latency_curve(POINTS[1:], baseline_ms, 43.0)["yAxis"]
    assert axis["min"] <= 43.0
    assert baseline_ms <= axis["max"] <= 2.1 * baseline_ms


def test_curve_shows_only_the_references_that_are_known() -> None:
    def labels(baseline_ms: float | None, measured_ms: float | None) -> list[str]:
        marks = latency_curve(POINTS, baseline_ms, measured_ms)["series"][0]["markLine"]["data"]
        return [mark["label"]["formatter"] for mark in marks]

    assert labels(134.0, 43.0) == ["PyTorch 134 ms", "measured 43.0 ms"]
    assert labels(None, 43.0) == ["measured 43.0 ms"]
    assert labels(None, None) == []


def test_bars_are_fastest_first_with_a_whisker_each() -> None:
    option = benchmark_bars(BARS)
    series = option["series"][0]
    assert option["yAxis"]["data"] == ["TuneSmith, tuned", "PyTorch SDPA"]
    assert [row["value"] for row in series["data"]] == [43.0, 134.0]
    assert [[end["coord"] for end in whisker] for whisker in series["markLine"]["data"]] == [
        [[42.8, 0], [44.1, 0]],
        [[131.0, 1], [140.0, 1]],
    ]


def test_medians_are_written_beyond_the_whiskers() -> None:
    medians = benchmark_bars(BARS)["series"][1]["data"]
    assert [(one["value"], one["label"]["formatter"]) for one in medians] == [
        ([44.1, 0], "43.0 ms"),
        ([140.0, 1], "134 ms"),
    ]


def test_only_our_own_bar_is_accented() -> None:
    colours = [row["itemStyle"]["color"] for row in benchmark_bars(BARS)["series"][0]["data"]]
    assert colours == ["var(--accent)", "var(--bar)"]


def test_an_unknown_variant_is_still_named() -> None:
    names = [Bar(name, 65.0, 64.0, 66.0) for name in ("onnxruntime", "mine.onnx")]
    assert benchmark_bars(names)["yAxis"]["data"] == ["ONNX Runtime", "mine.onnx"]


def test_roofline_rises_with_bandwidth_and_ends_at_the_peak() -> None:
    (left, rising), (ridge, top), (right, flat) = roofline(DOTS, PEAK)["series"][0]["data"]
    assert rising == pytest.approx(left * 40.0)
    assert (ridge, top) == (12.5, 500.0)
    assert right > ridge
    assert flat == 500.0


def test_roofline_shows_every_kernel_within_its_axes() -> None:
    far = Dot("copy", 0.001, 0.02, 0.0)
    option = roofline([*DOTS, far], PEAK)
    x, y = option["xAxis"], option["yAxis"]
    for dot in option["series"][1]["data"]:
        assert x["min"] <= dot["value"][0] <= x["max"]
        assert y["min"] <= dot["value"][1] <= y["max"]


def test_roofline_names_no_end_of_an_axis_that_is_no_round_number() -> None:
    option = roofline(DOTS, PEAK)
    assert [option[axis]["axisLabel"]["showMaxLabel"] for axis in ("xAxis", "yAxis")] == [False, False]


def test_roofline_names_the_largest_of_kernels_that_lie_together() -> None:
    dots = [*DOTS, Dot("gemm_too", 50.0, 450.0, 0.3)]
    drawn = roofline(dots, PEAK)["series"][1]["data"]
    assert [dot["name"] for dot in drawn if dot["label"]["show"]] == ["gemm", "softmax"]


def test_roofline_has_a_roof_for_each_precision_that_kernels_compute_in() -> None:
    peak = Peak(gflops=500.0, gb_per_sec=40.0, lower={"bf16": 1000.0, "int8": 2000.0})
    option = roofline([*DOTS, Dot("gemm_int8", 60.0, 1500.0, 0.3, "int8")], peak)
    _, roof, kernels = option["series"]
    assert (roof["name"], roof["data"][:2]) == ("peak in int8", [[12.5, 500.0], [50.0, 2000.0]])
    assert roof["data"][2][0] == option["xAxis"]["max"]
    assert all(dot["value"][1] <= option["yAxis"]["max"] for dot in kernels["data"])
    words = roofline_in_words([Dot("gemm_int8", 60.0, 1500.0, 0.9, "int8")], peak)
    assert "gemm_int8, 90 % of the time, reaches 1,500 GFLOPS of the 2,000" in words


def test_roofline_has_a_roof_for_a_unit_beside_the_cores_and_says_which_kernels_it_computes() -> None:
    peak = Peak(gflops=400.0, gb_per_sec=40.0, units={"AMX": 1600.0})
    option = roofline([*DOTS, Dot("large", 60.0, 900.0, 0.3, "AMX")], peak)
    _, roof, kernels = option["series"]
    assert (roof["name"], roof["data"][:2]) == ("peak in AMX", [[10.0, 400.0], [40.0, 1600.0]])
    told = {dot["name"]: dot["tooltip"]["formatter"] for dot in kernels["data"]}
    assert told["large"].endswith("\nAMX")
    assert "AMX" not in told["gemm"]
    assert len(roofline(DOTS, peak)["series"]) == 2


def test_roofline_draws_kernels_by_their_share_of_time() -> None:
    sizes = [dot["symbolSize"] for dot in roofline(DOTS, PEAK)["series"][1]["data"]]
    assert sizes == sorted(sizes, reverse=True)


def test_roofline_is_told_in_words_by_its_slowest_kernel() -> None:
    assert roofline_in_words(DOTS, PEAK) == (
        "The device reaches 500 GFLOPS and reads 40.0 GB/s, as measured. gemm, 80 % of the time, reaches 400 GFLOPS "
        "of the 500 that its arithmetic intensity allows."
    )


def test_options_are_json_without_functions_or_markup() -> None:
    text = json.dumps([latency_curve(POINTS, 134.0, 43.0), benchmark_bars(BARS), roofline(DOTS, PEAK)])
    assert "function" not in text
    assert "<" not in text


def test_charts_are_told_in_words_as_well() -> None:
    assert curve_in_words(POINTS) == "Predicted latency went from 400 ms to 120 ms in 20 s and 64 trials."
    assert bars_in_words(BARS) == "Median latency: TuneSmith, tuned 43.0 ms, PyTorch SDPA 134 ms"
