"""Copies of files that somebody else may write meanwhile, and whether there is room for them."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tuner.errors import ModelInvalid, StorageFull
from tuner.importers.plain_file import open_plain

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_BLOCK_BYTES = 4 * 1024 * 1024
_MIB = 2**20


@dataclass(frozen=True)
class Room:
    """How many bytes a model may have, and how many of a disk must stay free."""

    most_bytes: int | None = None
    least_free_bytes: int = 0

    def check_size(self, name: str, size_bytes: int) -> None:
        """Raise ModelInvalid for a model that is too large."""
        if self.most_bytes is not None and size_bytes > self.most_bytes:
            raise too_large(name, self.most_bytes, f"has {size_bytes / _MIB:,.0f} MiB")

    def check_free(self, place: Path, wanted_bytes: int) -> None:
        """Raise StorageFull when ``wanted_bytes`` at ``place`` would leave too little."""
        there = next(folder for folder in (place, *place.parents) if folder.exists())
        free = shutil.disk_usage(there).free
        if wanted_bytes and free - wanted_bytes < self.least_free_bytes:
            raise StorageFull(
                f"The model's files take {wanted_bytes / _MIB:,.0f} MiB, {free / _MIB:,.0f} MiB are free where {place} "
                f"is and {self.least_free_bytes / _MIB:,.0f} MiB of them are to stay so (TUNER_MIN_FREE_BYTES).",
                "Free some space (`df -h` shows how full the disk is).",
            )


def too_large(name: str, most_bytes: int, words: str = "goes on for longer than it said") -> ModelInvalid:
    """The error for a model that has more than it may."""
    return ModelInvalid(
        f"{name} {words}; a model may have {most_bytes / _MIB:,.0f} MiB (TUNER_MAX_MODEL_BYTES).",
        "Give another model, or raise the setting if the disk has room.",
    )


def copy(file: Path, place: Path, progress: Callable[[int], None]) -> str:
    """Copy a regular file as far as it is long now; its SHA-256. ``progress`` is told how many bytes a block had.

    Raises ModelInvalid for anything else than a regular file, OSError.
    """
    digest = hashlib.sha256()
    with open_plain(file) as given, place.open("xb") as made:
        left = os.fstat(given.fileno()).st_size
        while left > 0 and (block := given.read(min(left, _BLOCK_BYTES))):
            made.write(block)
            digest.update(block)
            left -= len(block)
            progress(len(block))
    return digest.hexdigest()


def link(file: Path, folder: Path, room: Room) -> None:
    """A second name in ``folder`` for a file that is never written again; where that can't be had, a copy."""
    original = file.resolve(strict=True)
    try:
        os.link(original, folder / file.name)
    except OSError:  # another disk, another user's file, a file system without links
        room.check_free(folder, original.stat().st_size)
        copy(original, folder / file.name, lambda _: None)
