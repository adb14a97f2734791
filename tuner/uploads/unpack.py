"""An archive of a model's folder, unpacked: regular files of known kinds, no links, no way out, bounded bytes.

Archives are read in a process of their own (``unpack_worker``), with a deadline and a limit of memory.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from tuner.apart import Limits, answered
from tuner.errors import UploadInvalid
from tuner.importers.copies import Room
from tuner.uploads import names

MOST_MEMBERS = 5_000
_LIMITS = Limits(3600.0, 512 * 2**20)
_BLOCK_BYTES = 2**20
_LOOK_EVERY_BYTES = 8 * 2**20
_DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, struct.error, EOFError, OverflowError,
    ValueError, IndexError, KeyError, NotImplementedError, RuntimeError,
)  # fmt: skip # what the library raises for archives that are none
_HINT = "Pack the folder again: `tar czf model.tar.gz -C FOLDER .`"


@dataclass(frozen=True)
class Unpacked:
    """The files that an archive had (path, size, SHA-256) and what of it no model needs."""

    files: list[dict[str, Any]]
    left_out: list[str]


@dataclass(frozen=True)
class Unpack:
    """What to unpack, into a folder that is there and empty, and how much of it at most."""

    archive: Path
    into: Path
    most_bytes: int
    least_free_bytes: int
    allow_pickle: bool

    def make(self) -> dict[str, Any]:
        """The fields of ``Unpacked``, here. Raises UploadInvalid, StorageFull."""
        try:
            return _Unpacking(self).run()
        except _DAMAGED as error:
            raise self._damaged(error) from None
        except OSError as error:
            if error.errno == errno.EINVAL:  # what it says of itself leads to before its beginning
                raise self._damaged(error) from None
            raise

    def _damaged(self, error: Exception) -> UploadInvalid:
        return UploadInvalid(f"{self.archive.name} is damaged, or no archive: {error}.", _HINT)

    def make_apart(self) -> Unpacked:
        """The same, in a process of its own."""
        return Unpacked(**answered("tuner.uploads.unpack_worker", self, _LIMITS, self._blamed))

    def _blamed(self, end: str) -> UploadInvalid:
        return UploadInvalid(f"{self.archive.name} could not be unpacked: {end}.", _HINT)


@dataclass(frozen=True)
class _Member:
    name: str
    size_bytes: int
    handle: Any


class _Unpacking:
    def __init__(self, wish: Unpack) -> None:
        self._wish = wish
        self._left_bytes = wish.most_bytes
        self._room = Room(least_free_bytes=wish.least_free_bytes)
        self._until_look = 0

    def run(self) -> dict[str, Any]:
        with _opened(self._wish.archive) as archive:
            members = _bounded(archive, self._wish.most_bytes)
            paths = _paths([member.name for member in members])
            names.check_distinct(paths)
            inside = dict(zip(paths, members, strict=True))
            taken, left_out = names.chosen(inside, self._wish.allow_pickle)
            for path in taken:
                names.check_size(path, inside[path].size_bytes)
            files = [self._write(archive, path, inside[path]) for path in taken]
        if not files:
            raise UploadInvalid(f"{self._wish.archive.name} holds no file of a model.", _HINT)
        return {"files": files, "left_out": left_out}

    def _write(self, archive: _Archive, path: str, member: _Member) -> dict[str, Any]:
        place = self._wish.into / path
        place.parent.mkdir(exist_ok=True)
        digest, size_bytes = hashlib.sha256(), 0
        with archive.open(member) as source, place.open("xb") as made:
            while block := source.read(_BLOCK_BYTES):
                self._count(len(block))
                made.write(block)
                digest.update(block)
                size_bytes += len(block)
            made.flush()
            os.fsync(made.fileno())
        if size_bytes != member.size_bytes:
            raise UploadInvalid(f"{path} is not as long as the archive says.", _HINT)
        return {"path": path, "size_bytes": size_bytes, "sha256": digest.hexdigest()}

    def _count(self, size_bytes: int) -> None:
        self._left_bytes -= size_bytes
        if self._left_bytes < 0:
            raise _too_much(self._wish.archive.name, self._wish.most_bytes)
        if self._until_look <= 0:
            self._room.check_free(self._wish.into, _LOOK_EVERY_BYTES)
            self._until_look = _LOOK_EVERY_BYTES
        self._until_look -= size_bytes


def _bounded(archive: _Archive, most_bytes: int) -> list[_Member]:
    """The regular files of an archive. Raises UploadInvalid before more of it is read than it may have."""
    found: list[_Member] = []
    total = 0
    for number, member in enumerate(archive.members()):
        if number >= MOST_MEMBERS:
            raise UploadInvalid(f"{archive.name} has more than {MOST_MEMBERS:,} members.", _HINT)
        if member is None:
            continue
        total += member.size_bytes
        if total > most_bytes:
            raise _too_much(archive.name, most_bytes)
        found.append(member)
    return found


def _paths(members: list[str]) -> list[str]:
    """Paths in the model's folder: without ``./``, and without the folder that holds all of them, if one does."""
    plain = [name.removeprefix("./") for name in members]
    top = next((name.partition("/")[0] for name in plain if not _is_litter(name)), "") + "/"
    if all(name.startswith(top) or _is_litter(name) for name in plain):
        return [name.removeprefix(top) for name in plain]
    return plain


def _is_litter(name: str) -> bool:
    """What file managers put beside things."""
    return name.startswith(("__MACOSX/", "."))


def _too_much(name: str, most_bytes: int) -> UploadInvalid:
    return UploadInvalid(f"{name} unpacks to more than {most_bytes:,} bytes.", "Send fewer files, or smaller ones.")


def _refuse_escape(archive: str, name: str) -> None:
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or any(ord(c) < 32 for c in name):
        raise UploadInvalid(f"{archive} has a member {name[:200]!r}, which leads out of its folder.", _HINT)


class _Archive:
    """Reads members of a zip or a tar; None in place of a folder."""

    name: str

    def members(self) -> Iterator[_Member | None]:
        raise NotImplementedError

    def open(self, member: _Member) -> IO[bytes]:
        raise NotImplementedError


class _Zip(_Archive):
    def __init__(self, name: str, file: zipfile.ZipFile) -> None:
        self.name = name
        self._file = file

    def members(self) -> Iterator[_Member | None]:
        for info in self._file.infolist():
            _refuse_escape(self.name, info.filename)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _no_file(self.name, info.filename)
            if info.flag_bits & 1:
                raise UploadInvalid(f"{self.name} is encrypted.", "Pack it without a password.")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise UploadInvalid(f"{self.name} is packed in a way that is not read here.", "Pack it by deflate.")
            yield None if info.is_dir() else _Member(info.filename, info.file_size, info)

    def open(self, member: _Member) -> IO[bytes]:
        return self._file.open(member.handle)


class _Tar(_Archive):
    def __init__(self, name: str, file: tarfile.TarFile) -> None:
        self.name = name
        self._file = file

    def members(self) -> Iterator[_Member | None]:
        for info in self._file:
            _refuse_escape(self.name, info.name)
            if not info.isdir() and (not info.isreg() or info.issparse()):
                raise _no_file(self.name, info.name)
            yield None if info.isdir() else _Member(info.name, info.size, info)

    def open(self, member: _Member) -> IO[bytes]:
        return cast(IO[bytes], self._file.extractfile(member.handle))


def _no_file(archive: str, name: str) -> UploadInvalid:
    return UploadInvalid(
        f"{archive} has a member {name[:200]!r} that is a link, a device or the like.",
        "Pack the files themselves: `tar czhf model.tar.gz -C FOLDER .`",
    )


@contextmanager
def _opened(path: Path) -> Iterator[_Archive]:
    with ExitStack() as held:
        if path.name.lower().endswith(".zip"):
            yield _Zip(path.name, held.enter_context(zipfile.ZipFile(path)))
        elif path.name.lower().endswith(".tar"):
            yield _Tar(path.name, held.enter_context(tarfile.open(path, "r:")))
        else:
            yield _Tar(path.name, held.enter_context(tarfile.open(path, "r:gz")))
