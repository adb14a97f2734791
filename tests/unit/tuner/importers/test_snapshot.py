"""Files of models as they were when somebody looked."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.tiny_models import CONFIGS, write_config_only, write_untrained
from tuner.errors import ModelInvalid, ModelUnreachable, StorageFull
from tuner.importers import snapshot
from tuner.importers.copies import Room, copy
from tuner.importers.snapshot import Found, borrowed, bring, sweep
from tuner.importers.source import resolve_source


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_untrained(tmp_path / "model")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "sources"


def names(folder: Path) -> list[str]:
    """What is in a folder, but for the mark that tells it to be ours."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_a_folder_is_copied_as_far_as_a_model_needs_it(model: Path, root: Path) -> None:
    (model / "vocab.txt").write_text("a")
    (model / "README.md").write_text("not needed")
    (model / "pytorch_model.bin").write_bytes(b"not wanted")
    found = bring(resolve_source(str(model)), root)
    assert names(root / found.snapshot) == ["config.json", "model.safetensors", "vocab.txt"]
    assert (found.family, found.head, found.max_seq_len) == ("bert", "encoder", 64)
    kept = (root / found.snapshot / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(b"rewritten")
    shutil.rmtree(model)
    assert (root / found.snapshot / "model.safetensors").read_bytes() == kept


def test_the_same_content_is_one_snapshot_and_another_another_one(model: Path, root: Path) -> None:
    first = bring(resolve_source(str(model)), root)
    shutil.copytree(model, model.with_name("elsewhere"))
    os.utime(model / "model.safetensors", ns=(1, 1))
    assert {bring(resolve_source(str(place)), root).snapshot for place in (model, model.with_name("elsewhere"))} == {
        first.snapshot
    }
    stamp = (model / "model.safetensors").stat().st_mtime_ns
    content = bytearray((model / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (model / "model.safetensors").write_bytes(content)
    os.utime(model / "model.safetensors", ns=(stamp, stamp))  # of the same size and time, as some tools leave it
    second = bring(resolve_source(str(model)), root)
    assert first.snapshot != second.snapshot
    assert names(root) == sorted([first.snapshot, second.snapshot])


def test_a_folder_that_was_written_after_the_submit_is_refused(model: Path, root: Path) -> None:
    source = resolve_source(str(model))
    os.utime(model / "model.safetensors", ns=(1, 1))
    with pytest.raises(ModelInvalid, match="changed after it was submitted"):
        bring(source, root)
    assert bring(resolve_source(str(model)), root).snapshot in names(root)


def test_what_is_gone_after_the_submit_is_named(model: Path, root: Path, tmp_path: Path) -> None:
    (tmp_path / "add.operator.json").write_text("{}")
    for place in (model, tmp_path / "add.operator.json"):
        source = resolve_source(str(place))
        place.rename(tmp_path / f"moved-{place.name}")
        with pytest.raises(ModelUnreachable, match=f"{place} is not there any more"):
            bring(source, root)


def test_a_folder_that_is_too_large_is_not_copied(model: Path, root: Path) -> None:
    with pytest.raises(ModelInvalid, match="TUNER_MAX_MODEL_BYTES"):
        bring(resolve_source(str(model)), root, Room(most_bytes=100))
    assert not root.exists()


def test_a_disk_that_gets_full_while_files_are_copied_is_said_to_be(
    model: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_up(*_: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(snapshot, "copy", fill_up)
    with pytest.raises(StorageFull, match=str(root)):
        bring(resolve_source(str(model)), root)
    assert names(root) == []


def test_shards_are_copied_by_the_names_that_their_index_says(model: Path, root: Path) -> None:
    (model / "model.safetensors").rename(model / "part-one.safetensors")
    (model / "model.safetensors.index.json").write_text('{"weight_map": {"a": "part-one.safetensors"}}')
    found = bring(resolve_source(str(model)), root)
    assert "part-one.safetensors" in names(root / found.snapshot)


def test_pickles_are_copied_only_where_they_are_trusted(tmp_path: Path, root: Path) -> None:
    folder = write_config_only(tmp_path / "old", CONFIGS["bert"])
    (folder / "pytorch_model.bin").write_bytes(b"PK")
    found = bring(resolve_source(str(folder), allow_pickle=True), root)
    assert names(root / found.snapshot) == ["config.json", "pytorch_model.bin"]


def test_a_folder_that_is_written_meanwhile_is_refused(
    model: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def beside(file: Path, place: Path, progress: Callable[[int], None]) -> str:
        os.utime(model / "config.json", ns=(1, 1))
        return copy(file, place, progress)

    monkeypatch.setattr(snapshot, "copy", beside)
    with pytest.raises(ModelInvalid, match="changed while"):
        bring(resolve_source(str(model)), root)
    assert names(root) == []


def test_a_named_pipe_among_the_files_is_refused_by_name(model: Path, root: Path) -> None:
    os.mkfifo(model / "vocab.txt")
    with pytest.raises(ModelInvalid, match=r"vocab\.txt is a named pipe"):
        bring(resolve_source(str(model)), root)


def test_nothing_is_copied_without_room_for_it(model: Path, root: Path) -> None:
    with pytest.raises(StorageFull, match="TUNER_MIN_FREE_BYTES"):
        bring(resolve_source(str(model)), root, Room(least_free_bytes=2**60))
    assert not root.exists()


def test_an_operator_by_name_has_no_files_and_one_of_the_users_has_one(tmp_path: Path, root: Path) -> None:
    assert bring(resolve_source("op:gemm:8,8,8"), root) == Found("")
    (tmp_path / "add.operator.json").write_text("{}")
    found = bring(resolve_source(str(tmp_path / "add.operator.json")), root)
    assert names(root / found.snapshot) == ["add.operator.json"]


def test_a_head_that_was_asked_for_stays(model: Path, root: Path) -> None:
    source = resolve_source(str(model), head="sequence-classification")
    assert bring(source, root).complete(source).head == "sequence-classification"


def test_borrowed_files_go_with_their_block(model: Path, root: Path) -> None:
    with borrowed(resolve_source(str(model)), root) as fetched:
        assert fetched.folder is not None
        assert (fetched.folder / "config.json").is_file()
    assert names(root) == []


def test_a_sweep_takes_what_is_ours_and_not_needed(model: Path, root: Path, tmp_path: Path) -> None:
    needed, not_needed = (
        bring(resolve_source(str(write_untrained(tmp_path / name, CONFIGS[name]))), root).snapshot
        for name in ("bert", "distilbert")
    )
    strangers = ["src-" + 20 * "b", "src-thesis", "notes"]
    for name in strangers:
        (root / name).mkdir(parents=True)
    (root / ("src-" + 20 * "c")).symlink_to(model)
    assert needed != not_needed
    sweep(root, {needed})
    assert names(root) == sorted([needed, "src-" + 20 * "c", *strangers])
    assert (model / "config.json").is_file()
