"""Each kernel below what the device's peak allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from api.dashboard.charts.style import Option, axis, base, power_of_ten_below, tooltip
from api.dashboard.words import percent, significant
from tuner.jobs.precisions import FULL
from tuner.targets.roofline import Peak

CLOSE_RATIO = 4.0  # dots of a roofline that differ less in both directions lie on each other


@dataclass(frozen=True)
class Dot:
    """A kernel in the roofline: FLOPs per byte of memory traffic, GFLOPS it reaches, share of the time, 0..1; the
    precision that its product is computed in, or the unit beside the cores that it is computed by."""

    name: str
    intensity: float
    gflops: float
    share: float
    means: str = "fp32"


def roofline(dots: Sequence[Dot], peak: Peak) -> Option:
    """GFLOPS of each kernel over its FLOPs per byte, both logarithmic, below what the device's peak allows.

    A dot's area is its share of the time. The largest of each neighbourhood is named: names would lie on each other.
    A precision that kernels compute in has a roof of its own, where its peak is measured, and so has a unit.
    """
    means = sorted({dot.means for dot in dots} - {FULL})
    tops = {name: top for name in means if (top := peak.gflops_at(name))}
    left = power_of_ten_below(min([peak.ridge / 16, *(dot.intensity / 2 for dot in dots)]))
    right = max(
        [peak.ridge * 16, *(top / peak.gb_per_sec * 4 for top in tops.values()), *(d.intensity * 2 for d in dots)]
    )
    bottom = min([peak.attainable_gflops(left), *(dot.gflops / 2 for dot in dots)])
    roof = [[x, peak.attainable_gflops(x)] for x in (left, peak.ridge, right)]
    named: list[Dot] = []
    for dot in sorted(dots, key=lambda dot: -dot.share):
        if not any(_are_close(dot, other) for other in named):
            named.append(dot)
    return {
        **base(),
        "grid": {"left": 8, "right": 20, "top": 34, "bottom": 30, "containLabel": True},
        "tooltip": {**tooltip(), "trigger": "item"},
        "xAxis": {
            **axis("FLOPs per byte", name_end=False),
            "type": "log",
            "nameLocation": "middle",
            "nameGap": 28,
            "min": left,
            "max": right,
        },
        "yAxis": {
            **axis(
                f"GFLOPS ({peak.source}: {significant(peak.gflops)}, {significant(peak.gb_per_sec)} GB/s)",
                name_end=False,
            ),
            "type": "log",
            "nameTextStyle": {"align": "left", "color": "var(--ink-soft)"},
            "min": power_of_ten_below(bottom),
            "max": max([peak.gflops, *tops.values()]) * 2,
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
            *(_roof(name, top, peak, right) for name, top in tops.items()),
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
    allowed = peak.attainable_gflops(largest.intensity, largest.means)
    return (
        f"The device reaches {significant(peak.gflops)} GFLOPS and reads {significant(peak.gb_per_sec)} GB/s, "
        f"as {peak.source}. "
        f"{largest.name}, {percent(largest.share)} of the time, reaches {significant(largest.gflops)} GFLOPS "
        f"of the {significant(allowed)} that its arithmetic intensity allows."
    )


def _roof(means: str, top: float, peak: Peak, right: float) -> Option:
    """What a lower precision or a unit allows, from where float32's roof leaves what memory allows."""
    ridge = top / peak.gb_per_sec
    rising = [[peak.ridge, peak.gflops]] if top > peak.gflops else []
    return {
        "type": "line",
        "name": f"peak in {means}",
        "data": [*rising, [ridge, top], [right, top]],
        "symbol": "none",
        "silent": True,
        "lineStyle": {"color": "var(--ink-faint)", "width": 2, "type": "dashed"},
        "endLabel": {"show": True, "formatter": means, "color": "var(--ink-soft)", "offset": [-40, -10]},
    }


def _dot(dot: Dot, named: bool) -> Option:
    facts = (
        f"{dot.name}\n{percent(dot.share)} of the time\n{significant(dot.gflops)} GFLOPS\n"
        f"{significant(dot.intensity)} FLOPs per byte"
    )
    if dot.means != FULL:
        facts += f"\n{dot.means}"
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
