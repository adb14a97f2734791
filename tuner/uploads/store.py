"""The files of an upload, as far as they have come. How far that is is told by how long they are."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from rpc import marks
from tuner.errors import Busy, NotFound, OffsetMismatch, UploadInvalid
from tuner.importers.copies import Room
from tuner.schemas import UploadFileIn

STRAY_AFTER_SEC = 3600.0
_NAME = re.compile(r"upl-[0-9a-f]{10}")
_MARK = ".tunesmith-upload"
_PARTS, _FILES = "parts", "files"
_BLOCK_BYTES = 4 * 2**20
_LOOK_EVERY_BYTES = 8 * 2**20  # how much is written between two looks at the disk


def make(folder: Path, files: Iterable[UploadFileIn], known: Mapping[str, Path]) -> None:
    """Empty files that parts can be added to; of a content that is ``known``, by SHA-256, a second name."""
    folder.mkdir(parents=True)
    (folder / _MARK).touch()
    for file in files:
        place = folder / _PARTS / file.path
        place.parent.mkdir(parents=True, exist_ok=True)
        with suppress(KeyError, OSError):  # gone, or on a file system without links: it is sent
            if known[file.sha256].stat().st_size == file.size_bytes:
                os.link(known[file.sha256], place)
                continue
        place.touch()
        sync(place.parent)
    sync(folder / _PARTS)
    sync(folder)
    sync(folder.parent)


def model_folder(folder: Path) -> Path:
    """Where the model of a complete upload lies."""
    return folder / _FILES


def received(folder: Path, path: str) -> int:
    """How many bytes of a file have come; none where its folder is not."""
    try:
        return (_held(folder) / path).stat().st_size
    except FileNotFoundError:
        return 0


class Part:
    """A file that is being added to; ``offset`` is where it ends."""

    def __init__(self, file: BinaryIO, declared: UploadFileIn, offset: int, least_free_bytes: int) -> None:
        self.offset = offset
        self._file = file
        self._declared = declared
        self._room = Room(least_free_bytes=least_free_bytes)
        self._look_at = offset

    def write(self, chunk: bytes) -> None:
        """Add some bytes. Raises UploadInvalid beyond the declared end, StorageFull before the disk is."""
        if self.offset + len(chunk) > self._declared.size_bytes:
            raise UploadInvalid(
                f"{self._declared.path} was declared with {self._declared.size_bytes:,} bytes, and more were sent.",
                "Begin another upload with the sizes that the files have.",
            )
        if self.offset >= self._look_at:
            self._look_at = self.offset + _LOOK_EVERY_BYTES
            self._room.check_free(Path(self._file.name).parent, _LOOK_EVERY_BYTES)
        left = memoryview(chunk)
        while left:
            written = self._file.write(left)
            self.offset += written
            left = left[written:]


@contextmanager
def adding(folder: Path, declared: UploadFileIn, offset: int, least_free_bytes: int) -> Iterator[Part]:
    """A file to which a part is added at ``offset``. However that ends: what was added is on the disk afterwards.

    Raises OffsetMismatch when the file ends elsewhere, Busy while somebody else adds to it.
    """
    try:
        file = (_held(folder) / declared.path).open("ab", buffering=0)
    except FileNotFoundError:
        raise NotFound(
            f"{declared.path} lies in the data directory of another service.", "Send it there, or begin another upload."
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(f"{declared.path} is being sent already.", "Try again in a moment.") from None
        have = os.fstat(file.fileno()).st_size
        if offset != have:
            raise OffsetMismatch(
                f"{have:,} bytes of {declared.path} have come; this part begins at {offset:,}.",
                "Go on where Upload-Offset says.",
                have,
            )
        try:
            yield Part(file, declared, have, least_free_bytes)
        finally:
            os.fsync(file.fileno())


def check_content(folder: Path, files: Iterable[UploadFileIn], wait: Callable[[], None]) -> None:
    """Raise UploadInvalid naming the first file that is not whole or not what was declared, which is emptied then.

    ``wait`` is called before each block, and returns when it may be read.
    """
    for file in files:
        have = received(folder, file.path)
        if have != file.size_bytes:
            raise UploadInvalid(
                f"{file.path} is not whole: {have:,} of {file.size_bytes:,} bytes have come.", "Send the rest of it."
            )
    for file in files:
        place = _held(folder) / file.path
        if sha256_of(place, wait) != file.sha256:
            _empty(place)
            raise UploadInvalid(
                f"{file.path} is not what was declared: its SHA-256 is another one.", "Send that file again, whole."
            )


def settle(folder: Path) -> None:
    """What has come is the model."""
    if (folder / _PARTS).is_dir():
        (folder / _PARTS).rename(folder / _FILES)
        sync(folder)


def settle_unpacked(folder: Path, unpacked: Path) -> None:
    """What came of an archive is the model; the archive stays until ``drop_parts``."""
    with suppress(FileNotFoundError):  # of a try that was killed before anybody was told of it
        (folder / _FILES).rename(unpacked.with_name("before"))
    unpacked.rename(folder / _FILES)
    sync(folder)


def drop_parts(folder: Path) -> None:
    """Remove an archive that was unpacked."""
    if (folder / _PARTS).is_dir():
        marks.remove(folder / _PARTS, "")


def archive_of(folder: Path, path: str) -> Path:
    """Where the archive of an upload lies."""
    return folder / _PARTS / path


def remove(folder: Path) -> None:
    """Remove an upload's folder if it is one."""
    if _NAME.fullmatch(folder.name) and not folder.is_symlink() and (folder / _MARK).is_file():
        marks.remove(folder, _MARK)


def strays(root: Path, known: Iterable[str]) -> list[Path]:
    """Folders of ours that have no row, and had none for an hour."""
    until = time.time() - STRAY_AFTER_SEC
    found = [folder for folder in root.glob("upl-*") if folder.name not in set(known)]
    return [folder for folder in found if (folder / _MARK).is_file() and folder.stat().st_mtime < until]


def size_of(folder: Path) -> int:
    """What a folder takes."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def sha256_of(place: Path, wait: Callable[[], None]) -> str:
    """The SHA-256 of a file, hex."""
    digest = hashlib.sha256()
    with place.open("rb", buffering=0) as file:
        while True:
            wait()
            block = file.read(_BLOCK_BYTES)
            if not block:
                return digest.hexdigest()
            digest.update(block)


def sync(folder: Path) -> None:
    """What was made, renamed or removed in a folder is so after a loss of power too."""
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(held)
    finally:
        os.close(held)


def _held(folder: Path) -> Path:
    """Where the files lie: of an upload that was settled, and whose row was not written yet, where they will stay."""
    parts = folder / _PARTS
    return parts if parts.is_dir() else folder / _FILES


def _empty(place: Path) -> None:
    """Another file in its place: a content that others have under a second name stays theirs."""
    place.unlink()
    place.touch()
