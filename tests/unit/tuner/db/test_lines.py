"""Lines of uploads: bounded each and together, whatever the file claims to be."""

from __future__ import annotations

import gzip
import io
import tracemalloc

import pytest

from tuner.db import lines
from tuner.db.lines import Damage, read_lines
from tuner.errors import UploadInvalid

MIB = 2**20


def read(content: bytes, max_unpacked_bytes: int | None = None) -> list[tuple[int, bytes | Damage]]:
    return list(read_lines(io.BytesIO(content), max_unpacked_bytes))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_lines_come_with_their_numbers_and_without_empty_ones(pack: object) -> None:
    content = pack(b"one\n\n\nfour\r\nfive")  # type: ignore[operator]
    assert read(content) == [(1, b"one"), (4, b"four\r"), (5, b"five")]


def test_gzips_in_a_row_are_one_file_and_padding_is_none() -> None:
    content = gzip.compress(b"a\nb") + gzip.compress(b"") + gzip.compress(b"c\nd\n") + bytes(200_000)
    assert read(content) == [(1, b"a"), (2, b"bc"), (3, b"d")]


def test_a_line_that_is_too_long_is_one_damaged_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 100)
    first, second, third, fourth = read(b"ok\n" + b"x" * 300_000 + b"\n" + b"y" * 100 + b"\n" + b"z" * 101)
    assert (first, third) == ((1, b"ok"), (3, b"y" * 100))
    assert [number for number, _ in (second, fourth)] == [2, 4]
    assert all(isinstance(found, Damage) and "longer than 100 bytes" in found.reason for _, found in (second, fourth))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (gzip.compress(b"first\n" + bytes(range(256)) * 999)[:-30], "too early"),
        (gzip.compress(b"first\n") + b"something else", "header"),
        (gzip.compress(b"first\n")[:-4] + b"abcd", "length check"),
        (gzip.compress(b"first\n") + gzip.compress(b"") * 10_001, "more than 10000 gzips"),
        (b"\x1f\x8b\x08\x08\0\0\0\0\0\xff" + b"a" * MIB, "too early"),  # a file name without end
    ],
    ids=["cut", "something behind", "wrong length", "too many", "endless name"],  # a gzip holds the time it was made
)
def test_what_follows_the_damage_in_a_gzip_is_one_damaged_line(content: bytes, says: str) -> None:
    *_, (_, last) = read(content)
    assert isinstance(last, Damage)
    assert says in last.reason


def test_what_unpacks_to_a_thousand_times_its_size_is_refused_soon_and_in_little_memory() -> None:
    bomb = gzip.compress(bytes(64 * MIB)) * 16  # a GiB of zeros in a MiB
    tracemalloc.start()
    with pytest.raises(UploadInvalid, match="unpacks to more than 16 MiB from 0"):
        read(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32 * MIB


def test_more_than_may_be_unpacked_is_refused_whatever_the_ratio() -> None:
    with pytest.raises(UploadInvalid, match="unpacks to more than 1 MiB"):
        read(gzip.compress(b"0123456789\n" * 100_000), max_unpacked_bytes=MIB)


def test_a_small_file_may_shrink_as_it_likes() -> None:
    ((_, line),) = read(gzip.compress(b"x" * MIB))
    assert line == b"x" * MIB


def test_reading_ends_once_nobody_wants_it() -> None:
    asked = iter([True, True, False])
    content = b"x" * 65_535 + b"\n"
    assert len(list(read_lines(io.BytesIO(content * 9), still_wanted=lambda: next(asked)))) == 2
