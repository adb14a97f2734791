"""The texts in a user's file: lines, a column of a table, or a field of JSON lines; and how long they are, about."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tuner.errors import InvalidInput

_PIECES = re.compile(r"\w{1,6}|[^\w\s]")  # a word piece has about so many letters; punctuation marks are their own
_MARKS = 2  # that tokenizers put around a text
_JUDGED, _JUDGED_CHARS = 500, 4000  # texts of a job, and what each may have: tuner.schemas.JobIn
_USUAL = ("text", "sentence")  # how the column is called that holds the texts
_JSON, _TABLES = (".jsonl", ".ndjson"), {".tsv": "\t", ".csv": ","}


def token_counts(file: Path) -> list[int]:
    """About how many tokens each line has, counted without a tokenizer, which lies where the model is; empty lines are
    none. Raises InvalidInput when the file is no text."""
    return [token_count(line) for line in _lines(file)]


def token_count(text: str) -> int:
    """About how many tokens a text has."""
    return len(_PIECES.findall(text)) + _MARKS


def texts_in(file: Path, column: str | None = None) -> list[str]:
    """The texts of a file: of ``.tsv`` and ``.csv`` (whose first line names columns) and ``.jsonl`` those of ``column``
    or of one called text or sentence, else its lines. Empty ones are none.

    Raises InvalidInput when the file can't be read so.
    """
    suffix = file.suffix.lower()
    if suffix in _TABLES:
        rows = _table(file, suffix)
    elif suffix in _JSON:
        rows = [_object(file, number, line) for number, line in enumerate(_lines(file), 1)]
    elif column is None:
        return _lines(file)
    else:
        raise InvalidInput(f"{file} has no columns.", "Give a .tsv, .csv or .jsonl file, or leave out --column.")
    return [text for text in (_cell(file, row, column) for row in rows) if text.strip()]


def sampled(texts: Sequence[str]) -> list[str]:
    """So many of the texts as a service takes to judge a precision on, from the first to the last, none too long."""
    count = min(len(texts), _JUDGED)
    return [texts[n * len(texts) // count][:_JUDGED_CHARS] for n in range(count)]


def _table(file: Path, suffix: str) -> list[dict[str, object]]:
    """Tables with tabs quote nothing: a quotation mark in them is part of a text."""
    quoting: Literal[0, 3] = csv.QUOTE_NONE if suffix == ".tsv" else csv.QUOTE_MINIMAL
    try:
        return [dict(row) for row in csv.DictReader(_lines(file), delimiter=_TABLES[suffix], quoting=quoting)]
    except csv.Error as error:
        raise InvalidInput(f"{file} can't be read as a table: {error}.", "Give one text a line instead.") from None


def _cell(file: Path, row: dict[str, object], column: str | None) -> str:
    names = [column] if column else [name for name in _USUAL if name in row]
    value = row.get(names[0]) if names else None
    if not isinstance(value, str):
        raise InvalidInput(
            f"{file} has no text in a column {column or ' or '.join(_USUAL)!r}; it has {', '.join(map(str, row))}.",
            "Name one with --column.",
        )
    return value


def _object(file: Path, number: int, line: str) -> dict[str, object]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InvalidInput(f"Line {number} of {file} is no JSON object.", "Give JSON lines: one object in each line.")
    return value


def _lines(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"{file} can't be read as text: {error}.", "Give a UTF-8 file with a text in each line."
        ) from error
    return [line for line in lines if line.strip()]
