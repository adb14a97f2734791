"""What names an artifact, and how its tar is written."""

from __future__ import annotations

import copy
import hashlib
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tuner.artifact.format import artifact_id, pack, sha256_of

MANIFEST: dict[str, Any] = {
    "model": {"name": "tiny", "head": "encoder"},
    "weights": "pretrained",
    "batch": 1,
    "seq_len": 128,
    "inputs": [{"name": "input_ids", "shape": [1, 128], "dtype": "int32"}],
    "outputs": [{"name": "last_hidden_state", "shape": [1, 128, 32], "dtype": "float32"}],
    "target": {"kind": "llvm", "mcpu": "znver4"},
    "versions": {"tvm": "0.27.0"},
    "winners": ["aa", "bb"],
    "params_sha256": "00",
    "latency": {"median_ms": 1.0},
    "created_at": "2025-03-01T12:00:00+00:00",
    "device": {"hostname": "here"},
}


def changed(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(MANIFEST), **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"batch": 2},
        {"seq_len": 64},
        {"weights": "random"},
        {"target": {"kind": "llvm", "mcpu": "znver5"}},
        {"versions": {"tvm": "0.28.0"}},
        {"winners": ["aa", "cc"]},
        {"params_sha256": "01"},
        {"model": {"name": "tiny", "head": "sequence-classification"}},
    ],
)
def test_what_it_computes_and_how_changes_its_id(changes: dict[str, Any]) -> None:
    assert artifact_id(changed(**changes)) != artifact_id(MANIFEST)


@pytest.mark.parametrize(
    "changes",
    [
        {"latency": {"median_ms": 2.0}},
        {"created_at": "2026-03-01T12:00:00+00:00"},
        {"device": {"hostname": "there"}},
        {"files": {"lib.so": "ff"}},
        {"verification": {"max_abs_error": 1e-6}},
    ],
)
def test_what_was_measured_does_not_change_its_id(changes: dict[str, Any]) -> None:
    assert artifact_id(changed(**changes)) == artifact_id(MANIFEST)


def test_id_does_not_depend_on_the_order_of_keys() -> None:
    assert artifact_id(dict(reversed(list(MANIFEST.items())))) == artifact_id(MANIFEST)
    assert artifact_id(MANIFEST).startswith("art-")
    assert len(artifact_id(MANIFEST)) == len("art-") + 20


@pytest.fixture
def members(tmp_path: Path) -> Path:
    folder = tmp_path / "members"
    folder.mkdir()
    for name in ("params.safetensors", "lib.so", "manifest.json"):
        (folder / name).write_text(name)
    return folder


def test_tar_begins_with_the_manifest_and_tells_nothing_of_its_maker(members: Path, tmp_path: Path) -> None:
    pack(members, tmp_path / "out" / "a.tar")
    with tarfile.open(tmp_path / "out" / "a.tar") as tar:
        entries = tar.getmembers()
    assert [entry.name for entry in entries] == ["manifest.json", "lib.so", "params.safetensors"]
    assert {(entry.uid, entry.gid, entry.uname, entry.gname, entry.mtime) for entry in entries} == {(0, 0, "", "", 0)}


def test_same_members_make_the_same_tar(members: Path, tmp_path: Path) -> None:
    pack(members, tmp_path / "a.tar")
    for path in members.iterdir():
        os.utime(path, (1, 1))
        path.chmod(0o600)
    pack(members, tmp_path / "b.tar")
    assert sha256_of(tmp_path / "a.tar") == sha256_of(tmp_path / "b.tar")


def test_what_lies_beside_the_tar_is_left_alone(members: Path, tmp_path: Path) -> None:
    for name in ("a.part", "a.tar.part"):
        (tmp_path / name).write_text("years of work")
    pack(members, tmp_path / "a.tar")
    assert [(tmp_path / name).read_text() for name in ("a.part", "a.tar.part")] == ["years of work"] * 2
    assert {path.name for path in tmp_path.iterdir()} == {"a.part", "a.tar.part", "a.tar", "members"}


def test_tar_that_can_not_be_written_whole_leaves_the_old_one(
    members: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.tar"
    pack(members, target)
    before = sha256_of(target)
    (members / "lib.so").write_text("newer")

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "add", full)
    with pytest.raises(OSError, match="No space left"):
        pack(members, target)
    assert sha256_of(target) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "members"]


def test_sha256_is_of_the_whole_file(tmp_path: Path) -> None:
    content = os.urandom((1 << 20) + 17)
    (tmp_path / "file").write_bytes(content)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()
