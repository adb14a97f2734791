"""How fast a model became, job after job: a line for each target, shape and precision."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from api.dashboard.charts.style import Option, axis, base, tooltip
from api.dashboard.words import milliseconds
from tuner.schemas import HistoryPoint

_MOST = 6  # lines, those with most points
_COLOURS = ("var(--accent)", "var(--ink)", "var(--good)", "var(--ink-soft)", "var(--bad)", "var(--ink-faint)")


def history_chart(points: Sequence[HistoryPoint]) -> Option:
    """Median latency (ms) over time, with the results of one kind joined by a line."""
    lines = _lines(points)
    return {
        **base(),
        "grid": {"left": 8, "right": 20, "top": 34, "bottom": 30 if len(lines) == 1 else 56, "containLabel": True},
        "tooltip": {**tooltip(), "trigger": "item"},
        "legend": {"show": len(lines) > 1, "bottom": 0, "textStyle": {"color": "var(--ink-soft)"}},
        "xAxis": {**axis(""), "type": "time", "splitLine": {"show": False}},
        "yAxis": {
            **axis("median, ms"),
            "type": "value",
            "min": 0,
            "nameTextStyle": {"align": "left", "color": "var(--ink-soft)"},
        },
        "series": [
            {
                "type": "line",
                "name": name,
                "symbolSize": 8,
                "lineStyle": {"width": 2, "color": colour},
                "itemStyle": {"color": colour},
                "data": [
                    {"value": [one.created_at.isoformat(), one.median_ms], "tooltip": {"formatter": _facts(one)}}
                    for one in line
                ],
            }
            for (name, line), colour in zip(lines.items(), _COLOURS, strict=False)
        ],
    }


def history_in_words(points: Sequence[HistoryPoint]) -> str:
    """The chart as sentences, for those who can't see it."""
    return " ".join(
        f"{name}: from {milliseconds(line[0].median_ms)} to {milliseconds(line[-1].median_ms)} in {len(line)} jobs."
        if len(line) > 1
        else f"{name}: {milliseconds(line[0].median_ms)}."
        for name, line in _lines(points).items()
    )


def _lines(points: Sequence[HistoryPoint]) -> dict[str, list[HistoryPoint]]:
    by_kind: dict[str, list[HistoryPoint]] = defaultdict(list)
    for one in points:
        by_kind[f"{one.target}, {one.shape}, {one.precision}, {one.machine}"].append(one)
    return dict(sorted(by_kind.items(), key=lambda found: -len(found[1]))[:_MOST])


def _facts(one: HistoryPoint) -> str:
    spread = f"{milliseconds(one.p10_ms)} - {milliseconds(one.p90_ms)}"
    return "\n".join(filter(None, [f"{milliseconds(one.median_ms)} ({spread})", one.job_id, one.made_with]))
