"""Some of many rows, where all of them would say no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def evenly(rows: Sequence[T], most: int) -> Sequence[T]:
    """As many rows as that at even distances, the first and the last among them; all when they are no more."""
    if len(rows) <= most:
        return rows
    return [rows[round(number * (len(rows) - 1) / (most - 1))] for number in range(most)]
