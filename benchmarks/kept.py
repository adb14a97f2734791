"""Entries of a benchmark that is done case by case: what earlier runs left, and what is still to be done."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import report

Entry = dict[str, Any]


def read(name: str) -> list[Entry]:
    """Entries of ``benchmarks/out/<name>.json``; those of artifacts that are gone are not."""
    file = report.OUT / f"{name}.json"
    entries: list[Entry] = json.loads(file.read_text()) if file.is_file() else []
    return [entry for entry in entries if "artifact" not in entry or Path(entry["artifact"]).is_file()]


def the_one(wanted: Mapping[str, Any], entries: Iterable[Entry]) -> Entry | None:
    """The entry with all of these fields: those of a case, and what it must have been made with."""
    return next((one for one in entries if all(one.get(name) == value for name, value in wanted.items())), None)


def is_done(wanted: Mapping[str, Any], entries: Iterable[Entry]) -> bool:
    """Is there such an entry?"""
    return the_one(wanted, entries) is not None


def merged(before: Sequence[Entry], done: Sequence[Entry], key: Sequence[str]) -> list[Entry]:
    """All entries, the newest of each case, which the fields of ``key`` tell from others."""
    new = [[one.get(name) for name in key] for one in done]
    return [*(one for one in before if [one.get(name) for name in key] not in new), *done]
