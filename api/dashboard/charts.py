"""ECharts options as plain data, pure functions of numbers.

Colours are CSS custom properties (``var(--accent)``) that the page resolves, so one option fits both themes.
Nothing here is a function or HTML, so options travel as JSON and need no inline script.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from api.dashboard.words import duration, milliseconds, percent, significant
from tuner.targets.roofline import Peak

Option = dict[str, Any]

CLOSE_RATIO = 4.0  # dots of a roofline that differ less in both directions lie on each other
LOG_FROM_RATIO = 6.0  # from this span on a linear axis would squeeze the interesting end flat
VARIANT_NAMES = {
    "tuned": "TuneSmith, tuned",
    "untuned": "TVM, untuned",
    "torch-eager": "PyTorch eager",
    "torch-sdpa": "PyTorch SDPA",
    "product": "PyTorch, product alone",
}


@dataclass(frozen=True)
class CurvePoint:
    """The predicted latency of the whole model after some tuning."""

    sec: float
    trials: int
    ms: float


@dataclass(frozen=True)
class Bar:
    """One benchmarked variant, ms."""

    variant: str
    median_ms: float
    p10_ms: float
    p90_ms: float


@dataclass(frozen=True)
class Dot:
    """A kernel in the roofline: FLOPs per byte of memory traffic, GFLOPS it reaches, share of the time, 0..1."""

    name: str
    intensity: float
    gflops: float
    share: float


def variant_name(variant: str) -> str:
    """How people call a benchmarked variant."""
    return VARIANT_NAMES.get(variant, variant.replace("-", " "))


def improvements(points: Sequence[CurvePoint]) -> list[CurvePoint]:
    """Only the points that set a new best, and the last one: the curve's shape at a fraction of its size."""
    kept: list[CurvePoint] = []
    ordered = sorted(points, key=lambda p: p.sec)
    for point in ordered:
        if not kept or point.ms < kept[-1].ms:
            kept.append(point)
    if kept and kept[-1] is not ordered[-1]:
        kept.append(replace(ordered[-1], ms=kept[-1].ms))
    return kept


def latency_curve(points: Sequence[CurvePoint], baseline_ms: float | None, measured_ms: float | None) -> Option:
    """Best predicted latency (ms) over tuning time (s), with PyTorch's and the measured latency as lines.

    The tooltip also tells the trials.
    """
    rows = [[p.sec, p.ms, p.trials, milliseconds(p.ms)] for p in improvements(points)]
    marks = {"PyTorch": baseline_ms, "measured": measured_ms}
    values = [p.ms for p in points] + [ms for ms in marks.values() if ms]
    log = bool(values) and max(values) / min(values) >= LOG_FROM_RATIO
    # ECharts fits an axis to the curve alone and leaves out lines beyond it.
    bounds: Option = {"type": "value", "min": 0, "max": _round_above(max(values)) if values else None}
    if log:
        low, high = math.floor(math.log2(min(values))), math.ceil(math.log2(max(values)))
        bounds = {"type": "log", "logBase": 2, "min": 2.0**low, "max": 2.0**high}
    return {
        **_base(),
        "grid": {"left": 8, "right": 20, "top": 34, "bottom": 30, "containLabel": True},
        "tooltip": {**_tooltip(), "trigger": "axis"},
        "dataset": {"dimensions": ["seconds", "ms", "trials", "latency"], "source": rows},
        "xAxis": {
            **_axis("seconds of tuning"),
            "type": "value",
            "nameLocation": "middle",
            "nameGap": 28,
            "axisPointer": {"label": {"formatter": "after {value} s", "precision": 0}},
        },
        "yAxis": {
            **_axis("predicted latency, ms" + (" (log)" if log else "")),
            **bounds,
            "nameTextStyle": {"align": "left", "color": "var(--ink-soft)"},
        },
        "series": [
            {
                "type": "line",
                "name": "best so far",
                "step": "end",
                "encode": {"x": "seconds", "y": "ms", "tooltip": ["latency", "trials"]},
                "showSymbol": len(rows) < 40,
                "symbolSize": 6,
                "lineStyle": {"width": 2.5, "color": "var(--accent)"},
                "itemStyle": {"color": "var(--accent)"},
                "areaStyle": {"color": "var(--accent)", "opacity": 0.08},
                "markLine": _reference_lines(marks),
            }
        ],
    }


def benchmark_bars(bars: Sequence[Bar]) -> Option:
    """Median latency (ms) of each variant as a bar, fastest on top, with a whisker from p10 to p90."""
    ordered = sorted(bars, key=lambda b: b.median_ms)
    names = [variant_name(b.variant) for b in ordered]
    rows = [
        {
            "name": variant_name(b.variant),
            "value": b.median_ms,
            "itemStyle": {"color": "var(--accent)" if b.variant == "tuned" else "var(--bar)"},
        }
        for b in ordered
    ]
    medians = [
        {"value": [max(b.median_ms, b.p90_ms), i], "label": {"formatter": milliseconds(b.median_ms)}}
        for i, b in enumerate(ordered)
    ]
    return {
        **_base(),
        "grid": {"left": 8, "right": 76, "top": 8, "bottom": 30, "containLabel": True},
        "tooltip": {"show": False},
        "xAxis": {**_axis("ms, lower is better"), "type": "value", "nameLocation": "middle", "nameGap": 28, "min": 0},
        "yAxis": {
            **_axis(""),
            "type": "category",
            "data": names,
            "inverse": True,
            "axisTick": {"show": False},
            "axisLabel": {"color": "var(--ink)", "fontSize": 13},
        },
        "series": [
            {
                "type": "bar",
                "data": rows,
                "barMaxWidth": 26,
                "itemStyle": {"borderRadius": [0, 4, 4, 0]},
                "markLine": {
                    "silent": True,
                    "animation": False,
                    "symbol": ["rect", "rect"],
                    "symbolSize": [9, 1.5],
                    "lineStyle": {"type": "solid", "width": 1.5, "color": "var(--ink)"},
                    "label": {"show": False},
                    "data": [_whisker(b, i) for i, b in enumerate(ordered)],
                },
            },
            {  # beyond each whisker, where nothing strikes it through; it also makes the axis as long as the whiskers
                "type": "scatter",
                "data": medians,
                "symbolSize": 0,
                "silent": True,
                "label": {"show": True, "position": "right", "distance": 10, "color": "var(--ink)", "fontWeight": 600},
            },
        ],
    }


def roofline(dots: Sequence[Dot], peak: Peak) -> Option:
    """GFLOPS of each kernel over its FLOPs per byte, both logarithmic, below what the device's peak allows.

    A dot's area is its share of the time. The largest of each neighbourhood is named: names would lie on each other.
    """
    left = _power_of_ten_below(min([peak.ridge / 16, *(dot.intensity / 2 for dot in dots)]))
    right = max([peak.ridge * 16, *(dot.intensity * 2 for dot in dots)])
    bottom = min([peak.attainable_gflops(left), *(dot.gflops / 2 for dot in dots)])
    roof = [[x, peak.attainable_gflops(x)] for x in (left, peak.ridge, right)]
    named: list[Dot] = []
    for dot in sorted(dots, key=lambda dot: -dot.share):
        if not any(_are_close(dot, other) for other in named):
            named.append(dot)
    return {
        **_base(),
        "grid": {"left": 8, "right": 20, "top": 34, "bottom": 30, "containLabel": True},
        "tooltip": {**_tooltip(), "trigger": "item"},
        "xAxis": {
            **_axis("FLOPs per byte", name_end=False),
            "type": "log",
            "nameLocation": "middle",
            "nameGap": 28,
            "min": left,
            "max": right,
        },
        "yAxis": {
            **_axis(
                f"GFLOPS ({peak.source}: {significant(peak.gflops)}, {significant(peak.gb_per_sec)} GB/s)",
                name_end=False,
            ),
            "type": "log",
            "nameTextStyle": {"align": "left", "color": "var(--ink-soft)"},
            "min": _power_of_ten_below(bottom),
            "max": peak.gflops * 2,
        },
        "series": [
            {
                "type": "line",
                "name": "peak",
                "data": roof,
                "symbol": "none",
                "silent": True,
                "lineStyle": {"color": "var(--ink-faint)", "width": 2},
            },
            {
                "type": "scatter",
                "name": "kernels",
                "data": [_dot(dot, dot in named) for dot in dots],
                "itemStyle": {"color": "var(--accent)", "opacity": 0.75},
            },
        ],
    }


def roofline_in_words(dots: Sequence[Dot], peak: Peak) -> str:
    """The roofline as one sentence, for those who can't see it."""
    largest = max(dots, key=lambda dot: dot.share)
    return (
        f"The device reaches {significant(peak.gflops)} GFLOPS and reads {significant(peak.gb_per_sec)} GB/s, "
        f"as {peak.source}. "
        f"{largest.name}, {percent(largest.share)} of the time, reaches {significant(largest.gflops)} GFLOPS "
        f"of the {significant(peak.attainable_gflops(largest.intensity))} that its arithmetic intensity allows."
    )


def bars_in_words(bars: Sequence[Bar]) -> str:
    """The bars as one sentence, for those who can't see them."""
    ordered = sorted(bars, key=lambda b: b.median_ms)
    return "Median latency: " + ", ".join(f"{variant_name(b.variant)} {milliseconds(b.median_ms)}" for b in ordered)


def curve_in_words(points: Sequence[CurvePoint]) -> str:
    """The curve as one sentence, for those who can't see it."""
    kept = improvements(points)
    if not kept:
        return "No trial has been measured yet."
    first, last = kept[0], kept[-1]
    return (
        f"Predicted latency went from {milliseconds(first.ms)} to {milliseconds(last.ms)} "
        f"in {duration(last.sec)} and {last.trials:,} trials."
    )


def _dot(dot: Dot, named: bool) -> Option:
    facts = (
        f"{dot.name}\n{percent(dot.share)} of the time\n{significant(dot.gflops)} GFLOPS\n"
        f"{significant(dot.intensity)} FLOPs per byte"
    )
    return {
        "name": dot.name,
        "value": [dot.intensity, dot.gflops],
        "symbolSize": round(8 + 48 * dot.share**0.5, 1),
        "tooltip": {"formatter": facts},
        "label": {"show": named, "position": "bottom", "formatter": "{b}", "color": "var(--ink)"},
    }


def _are_close(one: Dot, other: Dot) -> bool:
    across, along = one.intensity / other.intensity, one.gflops / other.gflops
    return all(1 / CLOSE_RATIO < ratio < CLOSE_RATIO for ratio in (across, along))


def _power_of_ten_below(value: float) -> float:
    return float(10.0 ** math.floor(math.log10(value)))


def _round_above(value: float) -> float:
    """The next multiple of half the power of ten below: 140 is 150, 0.18 is 0.2."""
    step = _power_of_ten_below(value) / 2
    return math.ceil(round(value / step, 6)) * step


def _whisker(bar: Bar, row: int) -> list[Option]:
    return [{"coord": [bar.p10_ms, row]}, {"coord": [bar.p90_ms, row]}]


def _reference_lines(marks: dict[str, float | None]) -> Option:
    # The curve begins high and ends near what is measured: each label goes to the end where the curve is not.
    places = {"PyTorch": "insideEndTop", "measured": "insideStartTop"}
    return {
        "silent": True,
        "symbol": "none",
        "animation": False,
        "data": [
            {
                "yAxis": ms,
                "label": {
                    "formatter": f"{name} {milliseconds(ms)}",
                    "position": places[name],
                    "color": "var(--ink-soft)",
                },
                "lineStyle": {"type": "dashed", "color": "var(--ink-faint)", "width": 1.5},
            }
            for name, ms in marks.items()
            if ms
        ],
    }


def _base() -> Option:
    return {"animationDuration": 300, "textStyle": {"fontFamily": "var(--font)"}, "backgroundColor": "transparent"}


def _axis(name: str, name_end: bool | None = None) -> Option:
    """An axis; with ``name_end`` false its end goes without a number, as it is no round one."""
    return {
        "name": name,
        "nameTextStyle": {"color": "var(--ink-soft)"},
        "axisLabel": {"color": "var(--ink-soft)", "hideOverlap": True, "showMaxLabel": name_end},
        "axisLine": {"lineStyle": {"color": "var(--line)"}},
        "splitLine": {"lineStyle": {"color": "var(--line)"}},
    }


def _tooltip() -> Option:
    return {
        "renderMode": "richText",  # on the canvas: HTML tooltips need inline styles, which the page's policy forbids
        "backgroundColor": "var(--card)",
        "borderColor": "var(--line)",
        "textStyle": {"color": "var(--ink)", "fontSize": 12},
    }
