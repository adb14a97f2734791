"""What all charts share: ECharts options as plain data, pure functions of numbers.

Colours are CSS custom properties (``var(--accent)``) that the page resolves, so one option fits both themes.
Nothing here is a function or HTML, so options travel as JSON and need no inline script.
"""

from __future__ import annotations

import math
from typing import Any

Option = dict[str, Any]


def base() -> Option:
    """What every chart starts from."""
    return {"animationDuration": 300, "textStyle": {"fontFamily": "var(--font)"}, "backgroundColor": "transparent"}


def axis(name: str, name_end: bool | None = None) -> Option:
    """An axis; with ``name_end`` false its end goes without a number, as it is no round one."""
    return {
        "name": name,
        "nameTextStyle": {"color": "var(--ink-soft)"},
        "axisLabel": {"color": "var(--ink-soft)", "hideOverlap": True, "showMaxLabel": name_end},
        "axisLine": {"lineStyle": {"color": "var(--line)"}},
        "splitLine": {"lineStyle": {"color": "var(--line)"}},
    }


def tooltip() -> Option:
    """A card that follows the pointer."""
    return {
        "renderMode": "richText",  # on the canvas: HTML tooltips need inline styles, which the page's policy forbids
        "backgroundColor": "var(--card)",
        "borderColor": "var(--line)",
        "textStyle": {"color": "var(--ink)", "fontSize": 12},
    }


def power_of_ten_below(value: float) -> float:
    """Where a logarithmic axis begins that is to show ``value``: 0.01 for 0.04."""
    return float(10.0 ** math.floor(math.log10(value)))
