"""The files of a model as they were when somebody looked: nothing of a job depends on what becomes of them later."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from rpc import marks
from rpc.drafts import draft
from tuner.errors import ModelInvalid, ModelUnreachable, StorageFull
from tuner.importers.copies import NO_SPACE, Room, copy, link
from tuner.importers.folder import check_weights, model_files, read_config
from tuner.importers.model_file import ONNX, ORIGINAL, config_beside, files_beside, graph_in
from tuner.importers.plain_file import stamp_of
from tuner.importers.sentence import HEAD as EMBEDDING
from tuner.importers.sentence import read_sentence
from tuner.importers.source import ModelSource, from_folder, own_head
from tuner.schemas.common import Head

PREFIX = "src-"
_NAME = re.compile(PREFIX + "[0-9a-f]{20}")
_MARK = ".tunesmith-source"

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
    longest_text: int | None = None  # of those that become one vector, where that is less

    def complete(self, source: ModelSource) -> ModelSource:
        """The source with what was found; a head that was asked for stays."""
        if not self.snapshot:
            return source
        head, longest = source.head or self.head, self.max_seq_len or source.max_seq_len
        if head == EMBEDDING and self.longest_text:
            longest = min(longest or self.longest_text, self.longest_text)
        family = self.family or source.family
        return replace(source, revision=self.revision, family=family, head=head, max_seq_len=longest)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Fetched:
    """A model whose files are at hand: what it is, and the folder that holds them (None: it has none)."""

    source: ModelSource
    folder: Path | None


def bring(source: ModelSource, root: Path, room: Room | None = None, progress: Progress | None = None) -> Found:
    """Bring a model's files into a folder below ``root`` that is named by what they are; it may be there already.

    ``progress`` is told how many bytes are done of how many. A preset without its weights here whose hub can't be
    reached has no files: it is used untrained. Raises what ``hub.download`` raises; ModelInvalid for a folder that was
    written since it was resolved, ModelUnreachable for one that is gone.
    """
    room, tell = room or Room(), progress or (lambda _done, _total: None)
    if not source.has_files:
        return Found("")
    try:
        if source.is_on_hub:
            return _from_hub(source, root, room, tell)
        if source.source == "file":
            return _from_file(source, Path(source.location), root, room, tell)
        return _from_here(source, root, room, tell)
    except OSError as error:
        if error.errno in NO_SPACE:
            raise StorageFull(
                f"No space is left for the files of {source.name} in {root}.",
                "Free some space (`df -h` shows how full the disk is).",
            ) from error
        raise ModelUnreachable(
            f"The files of {source.name} can't be copied to {root}: {error}.", "Mend that, then submit it again."
        ) from error


@contextmanager
def borrowed(source: ModelSource, root: Path, room: Room | None = None) -> Iterator[Fetched]:
    """A model with its files at hand until the block ends."""
    with draft(root) as scratch:
        found = bring(source, scratch, room)
        yield Fetched(found.complete(source), scratch / found.snapshot if found.snapshot else None)


def sweep(root: Path, keep: Collection[str]) -> None:
    """Remove all snapshots but these; what has not our name and our mark stays."""
    for folder in root.glob(f"{PREFIX}*"):
        is_ours = _NAME.fullmatch(folder.name) and not folder.is_symlink() and (folder / _MARK).is_file()
        if is_ours and folder.name not in keep:
            marks.remove(folder, _MARK)


def _from_here(source: ModelSource, root: Path, room: Room, tell: Progress) -> Found:
    """A copy of a folder's files, or of an operator's one, named by what is in them."""
    place = Path(source.location)
    if not place.exists():
        raise ModelUnreachable(f"{place} is not there any more.", "Put it back, then submit it again.")
    is_folder = source.folder is not None
    if is_folder:
        check_weights(place, source.allow_pickle)
    files = model_files(place, source.allow_pickle) if is_folder else [place]
    before = stamp_of(files)
    if source.stamp not in ("", before):
        raise ModelInvalid(f"The files of {source.name} changed after it was submitted.", "Submit it again.")
    total = sum(file.stat().st_size for file in files)
    room.check_size(source.name, total)
    room.check_free(root, total)

    def fill(scratch: Path) -> str:
        count = _counter(total, tell)
        digests = {}
        for file in files:
            name = str(file.relative_to(place)) if is_folder else file.name
            digests[name] = copy(file, _beneath(scratch, name), count)
        if stamp_of(files) != before:
            raise ModelInvalid(f"The files of {source.name} changed while they were copied.", "Submit it again.")
        return _name({"files": digests})

    snapshot = _kept(root, fill)
    return _described(source, snapshot, "") if is_folder else Found(snapshot.name)


def _from_file(source: ModelSource, file: Path, root: Path, room: Room, tell: Progress) -> Found:
    """A copy of a model's file and of its weights' beside it; of an encoder also the folder it was exported from."""
    from tuner.importers import convert  # these two load ONNX, of which who has a folder needs nothing
    from tuner.importers.onnx import graph

    if not file.exists():
        raise ModelUnreachable(f"{file} is not there any more.", "Put it back, then submit it again.")
    if source.stamp not in ("", stamp_of([file])):
        raise ModelInvalid(f"{source.name} changed after it was submitted.", "Submit it again.")
    room.check_size(source.name, file.stat().st_size)
    is_onnx = file.suffix == ONNX
    files = [file, *(file.with_name(name) for name in (graph.external_files(file) if is_onnx else ()))]
    before = _stamp_of_weights(file, files)
    beside = files_beside(file)
    total = sum(one.stat().st_size for one in files)
    room.check_size(source.name, total)
    room.check_free(root, 2 * total)
    head: Head | str = ""

    def fill(scratch: Path) -> str:
        nonlocal head
        original = scratch / ORIGINAL
        original.mkdir()
        count = _counter(total, tell)
        digests = {one.name: copy(one, original / one.name, count) for one in files}
        if stamp_of(files) != before:
            raise ModelInvalid(f"The files of {source.name} changed while they were copied.", "Submit it again.")
        config = config_beside(file)
        known = convert.convert if is_onnx else convert.convert_program
        head = known(original / file.name, config, scratch) or ""
        others = {}
        for name, one in beside.items() if head else ():
            if not (place := _beneath(scratch, name)).exists():  # the file's own word goes before its neighbours'
                others[name] = copy(one, place, lambda _: None)
        return _name({"files": digests, "beside": others, "config": config, "form": convert.FORM})

    snapshot = _kept(root, fill)
    if not head:
        return Found(snapshot.name)
    found = _described(source, snapshot, "")
    return found if head == "encoder" else replace(found, head=head)


def _stamp_of_weights(file: Path, files: list[Path]) -> str:
    try:
        return stamp_of(files)
    except FileNotFoundError as error:
        raise ModelInvalid(
            f"{file} has its weights in {error.filename}, which is not there.", "Put it beside the file."
        ) from None


def _counter(total: int, tell: Progress) -> Callable[[int], None]:
    """Tells ``tell`` how far all is when it is told of each part."""
    done = 0

    def count(size_bytes: int) -> None:
        nonlocal done
        done += size_bytes
        tell(min(done, total), total)

    return count


def _from_hub(source: ModelSource, root: Path, room: Room, tell: Progress) -> Found:
    """Second names for the files that the hub's library keeps, which are named by what is in them; of a model that is
    an ONNX file what is made of that."""
    from tuner.importers import hub  # its library takes half a second, and a folder needs none of it

    untrained = Found("") if source.source == "preset" else None
    try:
        folder = hub.download(source.location, source.revision, source.allow_pickle, room, tell)
    except ModelUnreachable:
        if untrained:
            return untrained
        raise
    if file := graph_in(folder):
        return replace(_from_file(source, file, root, room, tell), revision=folder.name)
    try:
        check_weights(folder, source.allow_pickle)
    except ModelInvalid:
        if untrained:  # a download was cut short, and there is nobody to go on with it
            return untrained
        raise
    files = model_files(folder, source.allow_pickle)
    room.check_size(source.name, sum(file.stat().st_size for file in files))
    names = [str(file.relative_to(folder)) for file in files]
    name = _name({"files": names, "hub": source.location, "revision": folder.name})

    def fill(scratch: Path) -> str:
        for file, below in zip(files, names, strict=True):
            link(file, _beneath(scratch, below).parent, room)
        return name

    snapshot = root / name
    return _described(source, snapshot if snapshot.is_dir() else _kept(root, fill), folder.name)


def _beneath(folder: Path, name: str) -> Path:
    """The place of a file below ``folder``, whose own folder is there then."""
    place = folder / name
    place.parent.mkdir(exist_ok=True)
    return place


def _described(source: ModelSource, snapshot: Path, revision: str) -> Found:
    """Whatever head was asked for: several jobs may share what is found."""
    plain = from_folder(snapshot, source.name, source.allow_pickle, "encoder")
    head: Head = EMBEDDING
    longest = None
    with suppress(ModelInvalid):  # it is no other head's business, and said where it is this one's
        head = own_head(snapshot, read_config(snapshot))
        longest = read_sentence(snapshot).longest if head == EMBEDDING else None
    return Found(snapshot.name, revision, plain.family, head, plain.max_seq_len, longest)


def _kept(root: Path, fill: Callable[[Path], str]) -> Path:
    """The folder that ``fill`` makes and names; the same one may be there already."""
    with draft(root) as scratch:
        made = scratch / "files"
        made.mkdir()
        place = root / fill(made)
        (made / _MARK).touch()
        try:
            made.rename(place)
        except OSError:
            if not place.is_dir():
                raise
    return place


def _name(described: object) -> str:
    return PREFIX + hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:20]
