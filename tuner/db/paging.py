"""One page of a query and how many rows match in all."""

from __future__ import annotations

from typing import Any, TypeVar

from sqlalchemy import func
from sqlmodel import Session, select
from sqlmodel.sql.expression import SelectOfScalar

T = TypeVar("T")


def page(
    session: Session, query: SelectOfScalar[T], order: tuple[Any, ...], limit: int, offset: int
) -> tuple[list[T], int]:
    """Rows ``offset .. offset+limit`` of ``query`` in ``order``, and the total number of matches."""
    total = session.exec(select(func.count()).select_from(query.subquery())).one()
    return list(session.exec(query.order_by(*order).limit(limit).offset(offset))), total
