"""Files that a user names, read without ever waiting for them: regular ones, of a size that is bounded beforehand."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tuner.errors import ModelInvalid

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def refuse_special(path: Path) -> None:
    """Raise ModelInvalid when ``path`` is no regular file, naming what it is; OSError when there is none."""
    _refuse(path, os.stat(path).st_mode)


@contextmanager
def open_plain(path: Path) -> Iterator[BinaryIO]:
    """A regular file, open for reading. Raises ModelInvalid when it is another thing, OSError as ``open``."""
    refuse_special(path)  # opening a device can already do something
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        _refuse(path, os.fstat(file.fileno()).st_mode)
        yield file


def stamp_of(files: Iterable[Path]) -> str:
    """What files are, by names, sizes and times: another stamp when somebody writes one of them. Raises OSError."""
    told = [(file.name, found.st_size, found.st_mtime_ns) for file in files for found in (file.stat(),)]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:20]


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """The whole of a regular file. Raises ModelInvalid when it is another thing or too large, OSError as ``open``."""
    with open_plain(path) as file:
        found_bytes = os.fstat(file.fileno()).st_size
        content = b"" if found_bytes > most_bytes else file.read(most_bytes + 1)
    size = max(found_bytes, len(content))
    if size > most_bytes:
        raise ModelInvalid(
            f"{path} has {size:,} bytes, at most {most_bytes:,} are read.", "Give the folder of a model as published."
        )
    return content


def _refuse(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for is_one, name in _KINDS if is_one(mode)), "something else")
        raise ModelInvalid(f"{path} is {kind}, no regular file.", "Put the file itself there.")
