"""The files of a model as they were when somebody looked: nothing of a job depends on what becomes of them later."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rpc.drafts import draft
from tuner.errors import ModelInvalid, ModelUnreachable, StorageFull
from tuner.importers.folder import check_weights, model_files
from tuner.importers.plain_file import refuse_special
from tuner.importers.source import Head, ModelSource, from_folder

PREFIX = "src-"
_NAME = re.compile(PREFIX + "[0-9a-f]{20}")
_BLOCK_BYTES = 4 * 1024 * 1024
_MIB = 2**20

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Found:
    """What the files of a model told: the folder of their snapshot (empty: it has none), the commit, and what a folder
    says of itself."""

    snapshot: str
    revision: str = ""
    family: str = ""
    head: Head | str = ""
    max_seq_len: int | None = None

    def complete(self, source: ModelSource) -> ModelSource:
        """The source with what was found; a head that was asked for stays."""
        if not self.snapshot:
            return source
        return replace(
            source,
            revision=self.revision,
            family=self.family or source.family,
            head=source.head or self.head,  # type: ignore[arg-type]
            max_seq_len=self.max_seq_len or source.max_seq_len,
        )


@dataclass(frozen=True)
class Fetched:
    """A model whose files are at hand: what it is, and the folder that holds them (None: it has none)."""

    source: ModelSource
    folder: Path | None


@dataclass(frozen=True)
class Room:
    """How much of a disk must stay free."""

    least_free_bytes: int = 0

    def check(self, place: Path, wanted_bytes: int) -> None:
        """Raise StorageFull when ``wanted_bytes`` at ``place`` would leave too little."""
        there = next(folder for folder in (place, *place.parents) if folder.exists())
        free = shutil.disk_usage(there).free
        if wanted_bytes and free - wanted_bytes < self.least_free_bytes:
            raise StorageFull(
                f"The model's files take {wanted_bytes / _MIB:,.0f} MiB, {free / _MIB:,.0f} MiB are free where {place} "
                f"is and {self.least_free_bytes / _MIB:,.0f} MiB of them are to stay so (TUNER_MIN_FREE_BYTES).",
                "Free some space (`df -h` shows how full the disk is).",
            )


def bring(source: ModelSource, root: Path, room: Room | None = None, progress: Progress | None = None) -> Found:
    """Bring a model's files into a folder below ``root`` that is named by what they are; it may be there already.

    ``progress`` is told how many bytes are done of how many. A preset without its weights here whose hub can't be
    reached has no files: it is used untrained. Raises what ``hub.download`` raises, and ModelInvalid.
    """
    room, tell = room or Room(), progress or (lambda _done, _total: None)
    if not source.has_files:
        return Found("")
    if source.source == "operator":
        path = Path(source.location)
        return Found(_copied([path], source, root, room, tell).name)
    if source.folder:
        check_weights(source.folder, source.allow_pickle)
        files = model_files(source.folder, source.allow_pickle)
        return _described(source, _copied(files, source, root, room, tell), "")
    return _from_hub(source, root, room, tell)


@contextmanager
def borrowed(source: ModelSource, root: Path, progress: Progress | None = None) -> Iterator[Fetched]:
    """A model with its files at hand until the block ends."""
    with draft(root) as scratch:
        found = bring(source, scratch, progress=progress)
        yield Fetched(found.complete(source), scratch / found.snapshot if found.snapshot else None)


def sweep(root: Path, keep: Collection[str]) -> None:
    """Remove all snapshots but these; what is not one of ours stays."""
    for folder in root.glob(f"{PREFIX}*"):
        if folder.name not in keep and _NAME.fullmatch(folder.name):
            shutil.rmtree(folder, ignore_errors=True)


def _from_hub(source: ModelSource, root: Path, room: Room, tell: Progress) -> Found:
    from tuner.importers import hub  # its library takes half a second, and a folder needs none of it

    try:
        folder = hub.download(source.location, source.revision, source.allow_pickle, room.check, tell)
        check_weights(folder, source.allow_pickle)
    except (ModelUnreachable, ModelInvalid):  # invalid: a download that was cut short, and nobody to go on with it
        if source.source == "preset":
            return Found("")
        raise
    files = model_files(folder, source.allow_pickle)
    names = {"files": [file.name for file in files], "hub": source.location, "revision": folder.name}

    def link(scratch: Path) -> None:
        for file in files:
            _link(file, scratch, room)

    return _described(source, _kept(_name(names), root, link), folder.name)


def _described(source: ModelSource, folder: Path, revision: str) -> Found:
    found = from_folder(folder, source.name, source.allow_pickle, None)
    return Found(folder.name, revision, found.family, found.head, found.max_seq_len)


def _copied(files: list[Path], source: ModelSource, root: Path, room: Room, tell: Progress) -> Path:
    """A copy of these files. Raises ModelInvalid when somebody writes them meanwhile."""
    before = _stamps(files)
    total = sum(size for _, size, _ in before)
    room.check(root, total)

    def copy(scratch: Path) -> None:
        done = 0
        for file in files:
            done = _copy(file, scratch / file.name, done, lambda now: tell(min(now, total), total))
        if _stamps(files) != before:
            raise ModelInvalid(f"The files of {source.name} changed while they were copied.", "Submit it again.")

    return _kept(_name({"files": before, "location": source.location}), root, copy)


def _kept(name: str, root: Path, fill: Callable[[Path], object]) -> Path:
    """The folder of this name, whole: filled now, unless it is there."""
    place = root / name
    if not place.is_dir():
        with draft(root) as scratch:
            made = scratch / name
            made.mkdir()
            fill(made)
            try:
                made.rename(place)
            except OSError:
                if not place.is_dir():  # else another process was quicker
                    raise
    return place


def _name(described: object) -> str:
    return PREFIX + hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:20]


def _stamps(files: list[Path]) -> list[tuple[str, int, int]]:
    return [(file.name, found.st_size, found.st_mtime_ns) for file in files for found in (file.stat(),)]


def _copy(file: Path, place: Path, done: int, tell: Callable[[int], None]) -> int:
    """Copy a regular file; ``done`` bytes were before it, the sum is returned."""
    refuse_special(file)
    with open(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as given, place.open("xb") as copy:
        if not stat.S_ISREG(os.fstat(given.fileno()).st_mode):
            raise ModelInvalid(f"{file} is no regular file.", "Put the file itself there.")
        while block := given.read(_BLOCK_BYTES):
            copy.write(block)
            done += len(block)
            tell(done)
    return done


def _link(file: Path, folder: Path, room: Room) -> None:
    """A second name for a file that is never written again; where that can't be had, a copy."""
    original = file.resolve(strict=True)
    try:
        os.link(original, folder / file.name)
    except OSError:  # another disk, another user's file, a file system without links
        room.check(folder, original.stat().st_size)
        _copy(original, folder / file.name, 0, lambda _: None)
