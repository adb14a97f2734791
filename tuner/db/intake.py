"""Entries of foreign logs into the database: line by line, in short transactions that leave room for others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from tuner.db import records
from tuner.db.engine import write
from tuner.db.lines import Damage, Numbered
from tuner.db.log_line import Entry
from tuner.db.models import Record, Workload
from tuner.errors import Busy
from tuner.schemas import ImportOut

_SHOWN_ERRORS = 20
_CHUNK_LINES = 100  # stored in one transaction: so short that tuning is not held up
_CHUNK_BYTES = 4 * 1024 * 1024
_TRIES = 4  # at a transaction, each of which waits for its turn for as long as the database's own time-out is
_PAUSE_SEC = 0.01


def take_in(engine: Engine, lines: Iterable[Numbered], parse: Callable[[bytes], Entry], source: str) -> ImportOut:
    """Store what ``parse`` makes of each line; ``source`` is what the records will say of where they are from.

    A line that ``parse`` refuses with a ValueError, or the database, is skipped and counted with its reason, a record
    that is known already counted; the rest is kept.
    """
    out = ImportOut(imported=0, duplicates=0, skipped=0, errors=[])
    for chunk in _chunks(lines):
        entries = [(number, entry) for number, line in chunk if (entry := _parsed(number, line, parse, out))]
        if entries:
            began = time.monotonic()
            _store(engine, entries, source, out)
            # Whoever waits for the database looks for it now and then: it is free at least half of the time.
            time.sleep(max(_PAUSE_SEC, time.monotonic() - began))
    return out


def _chunks(lines: Iterable[Numbered]) -> Iterator[list[Numbered]]:
    chunk: list[Numbered] = []
    size_bytes = 0
    for number, line in lines:
        chunk.append((number, line))
        size_bytes += 0 if isinstance(line, Damage) else len(line)
        if len(chunk) >= _CHUNK_LINES or size_bytes >= _CHUNK_BYTES:
            yield chunk
            chunk, size_bytes = [], 0
    if chunk:
        yield chunk


def _parsed(number: int, line: bytes | Damage, parse: Callable[[bytes], Entry], out: ImportOut) -> Entry | None:
    try:
        if isinstance(line, Damage):
            raise ValueError(line.reason)
        return parse(line) if line.strip() else None
    except ValueError as problem:
        _count_damaged(out, number, problem)
        return None


def _store(engine: Engine, entries: list[tuple[int, Entry]], source: str, out: ImportOut) -> None:
    try:
        new = _write(engine, [entry for _, entry in entries], source)
    except OperationalError:  # the database's trouble, not the lines'
        raise
    except (SQLAlchemyError, ArithmeticError, TypeError, ValueError) as problem:
        if len(entries) == 1:
            _count_damaged(out, entries[0][0], problem)
            return
        for one in entries:  # one of them is what the database can't hold; the others are kept
            _store(engine, [one], source, out)
    else:
        out.imported += new
        out.duplicates += len(entries) - new


def _write(engine: Engine, entries: list[Entry], source: str) -> int:
    """How many of the entries were new."""
    for _ in range(_TRIES - 1):
        try:
            return _write_once(engine, entries, source)
        except Busy:
            continue
    return _write_once(engine, entries, source)


def _write_once(engine: Engine, entries: list[Entry], source: str) -> int:
    workloads: dict[str, dict[str, Any]] = {}
    for entry in entries:
        told = workloads.setdefault(entry.workload["id"], entry.workload)
        if not told["tir"] and entry.workload["tir"]:  # the line that carried it first was damaged
            workloads[entry.workload["id"]] = entry.workload
    rows = [Record(**entry.record, source=source).model_dump(exclude_none=True) for entry in entries]
    with write(engine) as session:
        for workload in workloads.values():
            records.put_workload(session, Workload(**workload))
        return records.add_new(session, rows)


def _count_damaged(out: ImportOut, number: int, problem: Exception) -> None:
    out.skipped += 1
    if len(out.errors) < _SHOWN_ERRORS:
        out.errors.append(f"line {number}: {str(problem)[:500]}")
