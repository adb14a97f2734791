"""Columns of a constant in panels of one width: the last is filled up where they are no whole number of panels.

Where the columns are several parts side by side, of which one sum each is wanted at a time, a panel has as many columns
of each of them.
"""

from __future__ import annotations

from typing import Any

from tvm.tirx.script import builder as T

_LEAST_LANES = 4


def lanes_for(columns: int, widest: int) -> int:
    """The lanes, whole, half or a quarter of the widest vector's, of which the fewest vectors hold the columns."""
    found = [lanes for lanes in (widest, widest // 2, widest // 4) if lanes >= _LEAST_LANES]
    return min(found, key=lambda lanes: (count(columns, lanes), lanes))


def count(columns: int, width: int) -> int:
    """How many panels hold the columns."""
    return -(-columns // width)


def used(columns: int, width: int) -> float:
    """The part of what panels hold that is columns."""
    return columns / (count(columns, width) * width)


def column(panel: Any, place: Any, width: int, columns: int, parts: int) -> Any:
    """The column that lies at a ``place`` of a panel of this ``width``: of a part that is ``columns`` wide, counted
    from the first part's beginning on."""
    if parts == 1:
        return within(panel * width + place, columns, width)
    share = width // parts
    return within(panel * share + place % share, columns, share) + place // share * columns


def within(column: Any, columns: int, width: int) -> Any:
    """A column that a panel holds, by number; where it is beyond the last, that one."""
    return column if columns % width == 0 else T.min(column, columns - 1)
