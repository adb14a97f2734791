"""Lists: a page of them, what to ask for the next one, and how many rows match in all, up to a number.

A cursor is the key of the last row of a page: pages after it neither repeat nor skip rows of a list that grows at its
head, and one far down a long list costs what the first does. An offset costs all that it skips, which is at most
``MOST_COUNTED``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Float, Integer, func, literal, tuple_
from sqlmodel import Session, select
from sqlmodel.sql.expression import SelectOfScalar

from tuner.db.types import UtcTime
from tuner.errors import InvalidInput

T = TypeVar("T")

MOST_COUNTED = 10_000  # rows, and the largest offset: each page of an index may have to come from the disk


@dataclass(frozen=True)
class Window:
    """Which page of a list: ``limit`` rows, after the ``cursor`` of the page before, else after ``offset`` rows."""

    limit: int = 50
    offset: int = 0
    cursor: str | None = None


FIRST = Window()


@dataclass(frozen=True)
class Part(Generic[T]):
    """Rows in the order of ``key``, columns whose last is unique. A list is one part, or several, one after another."""

    query: SelectOfScalar[T]
    key: tuple[Any, ...]
    descending: bool = False
    few: bool = False  # found by an index of their own and sorted then, however they are ordered elsewhere

    def count(self, session: Session) -> int:
        """How many rows it has; of more than ``MOST_COUNTED`` one more than that."""
        rows = self.query.with_only_columns(literal(1), maintain_column_froms=True)
        some = rows.limit(MOST_COUNTED + 1).subquery("counted")
        return int(session.scalar(select(func.count()).select_from(some)) or 0)

    def rows(self, session: Session, limit: int, offset: int, after: Sequence[Any] | None) -> list[T]:
        """Its rows after that key, or (None) after ``offset`` of them."""
        query = self.query.order_by(*self._order())
        if after is not None:
            query = query.where(self._is_beyond(after))
        return list(session.exec(query.limit(limit).offset(offset or None)))

    def _order(self) -> list[ColumnElement[Any]]:
        """An expression, unlike a column, is in no index: none is walked for its order past all else."""
        first, *others = (column.desc() if self.descending else column for column in self.key)
        return [self.key[0] + 0 if self.few else first, *others]

    def key_of(self, row: T) -> list[Any]:
        """The row's key, as JSON takes it."""
        values = [getattr(row, column.key) for column in self.key]
        return [value.isoformat() if isinstance(value, datetime) else value for value in values]

    def _is_beyond(self, values: Sequence[Any]) -> ColumnElement[bool]:
        given = [_value(column, value) for column, value in zip(self.key, values, strict=True)]
        key, last = tuple_(*self.key), tuple_(*given, types=[column.type for column in self.key])
        return key < last if self.descending else key > last


@dataclass(frozen=True)
class Found(Generic[T]):
    """A page; ``cursor`` leads to the next one, None: there is none. ``total``: of more than ``MOST_COUNTED`` that."""

    rows: list[T]
    total: int
    cursor: str | None = None


def page(session: Session, parts: Sequence[Part[T]], window: Window) -> Found[T]:
    """One page of a list. Raises InvalidInput for a cursor that is not this list's."""
    number, after = _read(window.cursor, parts) if window.cursor else (0, None)
    skip = 0 if window.cursor else window.offset
    counts = [part.count(session) for part in parts]
    found: list[tuple[int, T]] = []
    while number < len(parts) and len(found) <= window.limit:
        if skip < counts[number]:
            rows = parts[number].rows(session, window.limit + 1 - len(found), skip, after)
            found += [(number, row) for row in rows]
        number, after, skip = number + 1, None, max(0, skip - counts[number])
    rows = [row for _, row in found[: window.limit]]
    more = len(found) > window.limit
    return Found(rows, min(sum(counts), MOST_COUNTED), _write(*found[window.limit - 1], parts) if more else None)


def _write(number: int, row: T, parts: Sequence[Part[T]]) -> str:
    return base64.urlsafe_b64encode(json.dumps([number, *parts[number].key_of(row)]).encode()).decode()


def _read(cursor: str, parts: Sequence[Part[T]]) -> tuple[int, list[Any]]:
    try:
        number, *key = json.loads(base64.urlsafe_b64decode(cursor))
        parts[number]._is_beyond(key)
        if number < 0:
            raise ValueError(number)
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise InvalidInput(
            f"The cursor {cursor[:100]!r} is none of this list's.",
            "Give the `cursor` of a page of the same list, or none for the first page.",
        ) from error
    return number, key


def _value(column: Any, value: Any) -> datetime | float | int | str:
    """What a cursor says of a column, as that column has it. Raises ValueError or TypeError."""
    kind = column.type
    if isinstance(kind, UtcTime):
        return datetime.fromisoformat(value)
    if isinstance(kind, Float):
        return float(value)
    if isinstance(kind, Integer) and isinstance(value, int) and 0 <= value < 2**63:
        return value
    if not isinstance(kind, Integer) and isinstance(value, str):
        return value
    raise ValueError(value)
