"""The benchmarked variants, fastest on top."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from api.dashboard.charts.style import Option, axis, base
from api.dashboard.words import milliseconds
from tuner.bench.against import NAMES

VARIANT_NAMES = {
    "tuned": "TuneSmith, tuned",
    "untuned": "TVM, untuned",
    "torch-eager": "PyTorch eager",
    "torch-sdpa": "PyTorch SDPA",
    "product": "PyTorch, product alone",
    "tuned-fp32": "TuneSmith in float32",
    "tuned-bf16": "TuneSmith in bf16",
    "tuned-fp16": "TuneSmith in fp16",
    "tuned-int8": "TuneSmith in int8",
    **NAMES,
}


@dataclass(frozen=True)
class Bar:
    """One benchmarked variant, ms."""

    variant: str
    median_ms: float
    p10_ms: float
    p90_ms: float


def variant_name(variant: str) -> str:
    """How people call a benchmarked variant."""
    return VARIANT_NAMES.get(variant, variant)


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
        **base(),
        "grid": {"left": 8, "right": 76, "top": 8, "bottom": 30, "containLabel": True},
        "tooltip": {"show": False},
        "xAxis": {**axis("ms, lower is better"), "type": "value", "nameLocation": "middle", "nameGap": 28, "min": 0},
        "yAxis": {
            **axis(""),
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


def bars_in_words(bars: Sequence[Bar]) -> str:
    """The bars as one sentence, for those who can't see them."""
    ordered = sorted(bars, key=lambda b: b.median_ms)
    return "Median latency: " + ", ".join(f"{variant_name(b.variant)} {milliseconds(b.median_ms)}" for b in ordered)


def _whisker(bar: Bar, row: int) -> list[Option]:
    return [{"coord": [bar.p10_ms, row]}, {"coord": [bar.p90_ms, row]}]
