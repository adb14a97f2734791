"""Spans of time as people read them. Pure."""

from __future__ import annotations


def in_largest_unit(seconds: float) -> str:
    """A span in s, not negative, cut to its largest unit: ``8 s``, ``4 min``, ``3 h``, ``1 day``, ``12 days``."""
    if seconds < 60:
        return f"{int(seconds)} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min"
    if seconds < 86400:
        return f"{int(seconds // 3600)} h"
    days = int(seconds // 86400)
    return f"{days} day{'s' if days != 1 else ''}"
