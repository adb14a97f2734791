"""The predicted latency of the whole model over tuning time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from api.dashboard.charts.style import Option, axis, base, power_of_ten_below, tooltip
from api.dashboard.words import duration, milliseconds

LOG_FROM_RATIO = 6.0  # from this span on a linear axis would squeeze the interesting end flat


@dataclass(frozen=True)
class CurvePoint:
    """The predicted latency of the whole model after some tuning."""

    sec: float
    trials: int
    ms: float


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
        **base(),
        "grid": {"left": 8, "right": 20, "top": 34, "bottom": 30, "containLabel": True},
        "tooltip": {**tooltip(), "trigger": "axis"},
        "dataset": {"dimensions": ["seconds", "ms", "trials", "latency"], "source": rows},
        "xAxis": {
            **axis("seconds of tuning"),
            "type": "value",
            "nameLocation": "middle",
            "nameGap": 28,
            "axisPointer": {"label": {"formatter": "after {value} s", "precision": 0}},
        },
        "yAxis": {
            **axis("predicted latency, ms" + (" (log)" if log else "")),
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


def _round_above(value: float) -> float:
    """The next multiple of half the power of ten below: 140 is 150, 0.18 is 0.2."""
    step = power_of_ten_below(value) / 2
    return math.ceil(round(value / step, 6)) * step
