"""However a file comes, it is what was declared or it is refused, and what came is told by its length."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.errors import Busy, NotFound, OffsetMismatch, StorageFull, UploadInvalid
from tuner.schemas import UploadFileIn
from tuner.uploads import store

CONTENT = bytes(range(200))


def declared(content: bytes, path: str = "model.safetensors") -> UploadFileIn:
    return UploadFileIn(path=path, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def made(root: Path, *files: UploadFileIn, name: str = "upl-0123456789") -> Path:
    folder = root / "uploads" / name
    store.make(folder, files, {})
    return folder


def add(folder: Path, file: UploadFileIn, content: bytes, offset: int = 0, least_free: int = 0) -> int:
    with store.adding(folder, file, offset, least_free) as part:
        part.write(content)
        return part.offset


def check(folder: Path, *files: UploadFileIn) -> None:
    store.check_content(folder, files, lambda: None)


@given(st.lists(st.integers(0, 60), max_size=8), st.integers(0, 300))
def test_parts_of_any_sizes_become_the_file_and_none_gets_in_elsewhere(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], wrong: int
) -> None:
    file = declared(CONTENT)
    folder = made(tmp_path_factory.mktemp("store"), file)
    for size in (*sizes, len(CONTENT)):
        have = store.received(folder, file.path)
        if wrong != have:
            with pytest.raises(OffsetMismatch) as refusal:
                add(folder, file, b"x", wrong)
            assert refusal.value.offset == have
        assert add(folder, file, CONTENT[have : have + size], have) == store.received(folder, file.path)
    check(folder, file)
    store.settle(folder)
    assert (store.model_folder(folder) / file.path).read_bytes() == CONTENT


def test_what_came_of_a_part_that_broke_off_stays(tmp_path: Path) -> None:
    file = declared(CONTENT)
    folder = made(tmp_path, file)

    def break_off() -> None:
        with store.adding(folder, file, 0, 0) as part:
            part.write(CONTENT[:70])
            raise ConnectionError

    with pytest.raises(ConnectionError):
        break_off()
    assert store.received(folder, file.path) == 70


def test_a_file_is_added_to_by_one_at_a_time(tmp_path: Path) -> None:
    file = declared(CONTENT)
    folder = made(tmp_path, file)
    with store.adding(folder, file, 0, 0) as part:
        part.write(CONTENT[:10])
        with pytest.raises(Busy):
            add(folder, file, CONTENT[10:], 10)
    assert add(folder, file, CONTENT[10:], 10) == len(CONTENT)


def test_nothing_is_added_beyond_the_declared_end_or_to_a_full_disk(tmp_path: Path) -> None:
    file = declared(CONTENT)
    folder = made(tmp_path, file)
    with pytest.raises(StorageFull):
        add(folder, file, CONTENT, least_free=2**62)
    with pytest.raises(UploadInvalid, match="more were sent"):
        add(folder, file, CONTENT + b"x")
    assert store.received(folder, file.path) == 0


def test_a_file_that_is_known_here_is_whole_at_once_and_stays_the_others_too(tmp_path: Path) -> None:
    file, other = declared(CONTENT), declared(b"other", "config.json")
    first = made(tmp_path, file)
    add(first, file, CONTENT)
    store.settle(first)
    known = {file.sha256: store.model_folder(first) / file.path}
    second = tmp_path / "uploads" / "upl-9876543210"
    store.make(second, [file, other], known)
    assert (store.received(second, file.path), store.received(second, other.path)) == (len(CONTENT), 0)
    with pytest.raises(UploadInvalid, match="more were sent"):
        add(second, file, b"x", len(CONTENT))
    store.remove(second)
    assert known[file.sha256].read_bytes() == CONTENT


def test_a_known_file_that_was_damaged_on_the_disk_is_sent_again(tmp_path: Path) -> None:
    file = declared(CONTENT)
    damaged = tmp_path / "damaged"
    damaged.write_bytes(bytes(len(CONTENT)))
    folder = tmp_path / "uploads" / "upl-0123456789"
    store.make(folder, [file], {file.sha256: damaged})
    with pytest.raises(UploadInvalid, match="not what was declared"):
        check(folder, file)
    assert store.received(folder, file.path) == 0
    add(folder, file, CONTENT)
    check(folder, file)
    assert damaged.read_bytes() == bytes(len(CONTENT))


def test_an_upload_of_another_services_data_directory_is_said_to_be_elsewhere(tmp_path: Path) -> None:
    file = declared(CONTENT)
    assert store.received(tmp_path / "upl-0123456789", file.path) == 0
    with pytest.raises(NotFound, match="another service"):
        add(tmp_path / "upl-0123456789", file, CONTENT)


def test_nothing_is_removed_that_is_not_ours(tmp_path: Path) -> None:
    strange = tmp_path / "upl-0123456789"
    strange.mkdir()
    (strange / "thesis.txt").write_text("mine")
    ours = made(tmp_path, declared(CONTENT))
    link = tmp_path / "upl-00000000ff"
    link.symlink_to(ours)
    for folder in (strange, link, tmp_path / "none"):
        store.remove(folder)
    assert (strange / "thesis.txt").exists()
    assert ours.exists()
    os.utime(ours, (1.0, 1.0))
    assert store.strays(ours.parent, []) == [ours]
    assert store.strays(ours.parent, [ours.name]) == []
