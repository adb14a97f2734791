"""Lines of an uploaded file, plain or gzipped, one at a time: neither a line nor the whole is larger than it may be."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import IO

from tuner.errors import UploadInvalid

MAX_LINE_BYTES = 8 * 1024 * 1024  # an operator's own TIR may take 4 MB, and its escapes as much again
MAX_RATIO = 200  # logs shrink to a twentieth; what shrinks to a thousandth is one byte over and over
_JUDGED_FROM_BYTES = 16 * 1024 * 1024  # unpacked: a small log of one record may shrink as it likes
_MAX_MEMBERS = 10_000  # gzips in a row, as `cat a.gz b.gz` makes them
_BLOCK = 64 * 1024
_GZIP = 31  # zlib's wbits: with a gzip's header and check sum


@dataclass(frozen=True)
class Damage:
    """In place of a line that can't be read: why."""

    reason: str


Numbered = tuple[int, "bytes | Damage"]


def read_lines(
    file: IO[bytes], max_unpacked_bytes: int | None = None, still_wanted: Callable[[], bool] = lambda: True
) -> Iterator[Numbered]:
    """The file's lines that are not empty, with their numbers and without their ends, while they are ``still_wanted``.

    Damage costs the line that it is in; of a gzip, all that follows too. Raises UploadInvalid once more was unpacked
    than is allowed, in bytes or for the file's size.
    """
    magic = file.read(2)
    file.seek(0)
    blocks: Iterator[bytes | Damage] = iter(lambda: file.read(_BLOCK), b"")
    if magic == b"\x1f\x8b":
        blocks = _unpacked(file, max_unpacked_bytes)
    return in_lines(takewhile(lambda _: still_wanted(), blocks))


def in_lines(blocks: Iterable[bytes | Damage]) -> Iterator[Numbered]:
    """The lines of blocks of bytes, as ``read_lines`` gives them."""
    number, begun, is_cut = 1, bytearray(), False
    too_long = Damage(f"it is longer than {MAX_LINE_BYTES} bytes")
    for block in blocks:
        if isinstance(block, Damage):
            yield number, block
            return
        *ended, rest = block.split(b"\n")
        for part in ended:
            begun += part
            if is_cut or len(begun) > MAX_LINE_BYTES:
                yield number, too_long
            elif begun:
                yield number, bytes(begun)
            number, begun, is_cut = number + 1, bytearray(), False
        begun += rest
        if len(begun) > MAX_LINE_BYTES:
            begun, is_cut = bytearray(), True
    if begun or is_cut:
        yield number, too_long if is_cut else bytes(begun)


def _unpacked(file: IO[bytes], most: int | None) -> Iterator[bytes | Damage]:
    """A gzip's content in blocks. Python's own reader looks for the end of a header byte by byte, however long it is,
    and for content within one call, however many members have none."""
    packed, unpacked, members = 0, 0, 0
    inflate, is_open = zlib.decompressobj(_GZIP), False
    left = b""
    while block := left or file.read(_BLOCK):
        packed += 0 if left else len(block)
        left = b""
        if not is_open:
            block, members = block.lstrip(b"\0"), members + 1  # a gzip may be padded
            if not block:
                continue
            inflate, is_open = zlib.decompressobj(_GZIP), True
        try:
            content = inflate.decompress(block, _BLOCK)
        except zlib.error as error:
            yield Damage(f"damaged gzip: {error}")
            return
        unpacked += len(content)
        if unpacked > (most or unpacked) or unpacked > max(packed * MAX_RATIO, _JUDGED_FROM_BYTES):
            raise UploadInvalid(
                f"The upload unpacks to more than {unpacked // 2**20} MiB from {packed / 2**20:.1f} MiB.",
                "Send it as several files, unpacked; what came before this point is imported.",
            )
        if content:
            yield content
        is_open, left = not inflate.eof, inflate.unconsumed_tail or inflate.unused_data
        if members > _MAX_MEMBERS:
            yield Damage(f"it holds more than {_MAX_MEMBERS} gzips")
            return
    if is_open and (content := inflate.flush()):
        yield content
    if is_open and not inflate.eof:
        yield Damage("damaged gzip: it ends too early")
