"""The texts in a user's file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuner.cli.text_file import texts_in, token_counts
from tuner.errors import InvalidInput


def written(folder: Path, name: str, content: str) -> Path:
    file = folder / name
    file.write_text(content, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("name", "content", "column"),
    [
        ("a.txt", 'it\'s "good"\n\nsô, sô\n', None),
        ("a.tsv", 'sentence\tlabel\nit\'s "good"\t1\nsô, sô\t0\n', None),
        ("a.TSV", 'id\treview\n1\tit\'s "good"\n2\tsô, sô\n', "review"),
        ("a.csv", 'text,label\n"it\'s ""good""",1\n"sô, sô",0\n', None),
        ("a.jsonl", '{"text": "it\'s \\"good\\""}\n{"text": "s\\u00f4, sô"}\n', None),
    ],
)
def test_texts_are_lines_or_a_column(tmp_path: Path, name: str, content: str, column: str | None) -> None:
    assert texts_in(written(tmp_path, name, content), column) == ['it\'s "good"', "sô, sô"]


@pytest.mark.parametrize(
    ("name", "content", "column", "said"),
    [
        ("a.tsv", "review\tlabel\nfine\t1\n", None, "it has review, label"),
        ("a.jsonl", '{"text": 7}\n', "text", "no text in a column"),
        ("a.jsonl", "[1]\n", None, "Line 1 of .* is no JSON object"),
        ("a.txt", "fine\n", "text", "has no columns"),
    ],
)
def test_a_file_without_such_texts_is_refused(
    tmp_path: Path, name: str, content: str, column: str | None, said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        texts_in(written(tmp_path, name, content), column)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match="can't be read as text"):
        texts_in(tmp_path / "a.txt")


def test_tokens_are_counted_by_line(tmp_path: Path) -> None:
    assert token_counts(written(tmp_path, "a.txt", "a ship.\n\nwater\n")) == [5, 3]
