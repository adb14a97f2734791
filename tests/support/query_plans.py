"""How a database would answer what it was asked: every statement is noted while real code runs, and explained after."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, event

SMALL = frozenset({"device", "lease", "token", "identity", "alembic_version"})  # tables that do not grow with use
OF_FOUND = "counted"  # no table: the rows that a query found, with a limit


@dataclass(frozen=True)
class Scan:
    """A table that a statement reads from one end to the other; ``index``: it does so in an index."""

    table: str
    index: bool
    statement: str


class Noted:
    """The statements that were sent, each once, with the parameters of the first time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.statements: dict[str, Any] = {}

    def scans(self) -> list[Scan]:
        """What would be read whole, of tables that grow."""
        explain = _of_sqlite if self._engine.dialect.name == "sqlite" else _of_postgres
        found = []
        with self._engine.connect() as connection:
            if self._engine.dialect.name != "sqlite":
                connection.exec_driver_sql(
                    "SET enable_seqscan = off"
                )  # an empty table is read whole, whatever there is
            for statement, values in self.statements.items():
                found += [scan for scan in explain(connection, statement, values) if scan.table not in SMALL]
        return found


@contextmanager
def noting(engine: Engine) -> Iterator[Noted]:
    """Note the statements of all engines of this process for the same database, until the block ends."""
    noted = Noted(engine)

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, _context: Any, many: bool) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
            noted.statements.setdefault(statement, values[0] if many else values)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield noted
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def index_conditions(engine: Engine, statement: str, values: Any) -> list[str]:
    """What a statement looks up in indexes by, as the database says it."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
            return [detail for *_, detail in rows if detail.startswith("SEARCH")]
        connection.exec_driver_sql("SET enable_seqscan = off")
        rows = connection.exec_driver_sql(f"EXPLAIN {statement}", values)
        return [line for (line,) in rows if "Index Cond" in line]


def _of_sqlite(connection: Any, statement: str, values: Any) -> Iterator[Scan]:
    for *_, detail in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values):
        words = detail.split()
        if words[0] == "SCAN" and words[1:] not in (["CONSTANT", "ROW"], [OF_FOUND]):
            yield Scan(words[1].rstrip("0123456789_"), "INDEX" in words, statement)


def _of_postgres(connection: Any, statement: str, values: Any) -> Iterator[Scan]:
    (plan,) = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", values).scalars()
    yield from _nodes((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"], statement)


def _nodes(node: dict[str, Any], statement: str) -> Iterator[Scan]:
    if node["Node Type"] == "Seq Scan":
        yield Scan(node["Relation Name"], False, statement)
    elif node["Node Type"].startswith("Index") and "Index Cond" not in node:
        yield Scan(node["Relation Name"], True, statement)
    for inner in node.get("Plans", []):
        yield from _nodes(inner, statement)
