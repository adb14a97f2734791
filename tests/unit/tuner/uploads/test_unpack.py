"""An archive becomes the files of a model in a folder of their own, or nothing."""

from __future__ import annotations

import hashlib
import io
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import foreign
from tests.support.uploading import MODEL, tarred, zipped
from tuner.errors import StorageFull, TunerError, UploadInvalid
from tuner.uploads.unpack import Unpack

PACKERS = {"m.zip": zipped, "m.tar": lambda files: tarred(files, mode="w"), "m.tar.gz": tarred, "m.tgz": tarred}
MOST = 10_000_000


def unpack(folder: Path, name: str, content: bytes, most: int = MOST, least_free: int = 0) -> dict[str, Any]:
    """What came of it, in the folder ``out``."""
    (folder / name).write_bytes(content)
    (folder / "out").mkdir(exist_ok=True)
    return Unpack(folder / name, folder / "out", most, least_free, allow_pickle=False).make()


def held(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("prefix", ["", "./", "my-model/"])
def test_a_folder_comes_out_as_it_went_in(tmp_path: Path, name: str, prefix: str) -> None:
    files = {**MODEL, "1_Pooling/config.json": b"{}"}
    litter = {"README.md": b"hello", "pytorch_model.bin": b"pickle", "__MACOSX/._config.json": b"x", ".DS_Store": b"x"}
    packed = {(path if path.startswith(("__", ".")) else prefix + path): c for path, c in {**files, **litter}.items()}
    told = unpack(tmp_path, name, PACKERS[name](packed))
    assert held(tmp_path / "out") == files
    assert {one["path"]: one["sha256"] for one in told["files"]} == {
        path: hashlib.sha256(content).hexdigest() for path, content in files.items()
    }
    assert set(told["left_out"]) == set(litter)


@pytest.mark.parametrize("path", ["../evil.json", "/evil.json", "a/../../evil.json", "..\\evil.json", "a\nb.json"])
@pytest.mark.parametrize("name", ["m.zip", "m.tar.gz"])
def test_a_member_that_leads_out_is_refused_and_nothing_is_written(tmp_path: Path, name: str, path: str) -> None:
    with pytest.raises(UploadInvalid, match="leads out"):
        unpack(tmp_path, name, PACKERS[name]({**MODEL, path: b"{}"}))
    assert held(tmp_path / "out") == {}
    assert not list(tmp_path.parent.glob("evil*"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_a_member_of_a_tar_that_is_no_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("vocab.txt")
    member.type, member.linkname = kind, "/etc/passwd"
    with pytest.raises(UploadInvalid, match="link, a device"):
        unpack(tmp_path, "m.tar.gz", tarred(MODEL, member))
    assert held(tmp_path / "out") == {}


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    packed = io.BytesIO(zipped(MODEL))
    with zipfile.ZipFile(packed, "a") as archive:
        link = zipfile.ZipInfo("vocab.txt")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(UploadInvalid, match="link, a device"):
        unpack(tmp_path, "m.zip", packed.getvalue())


@pytest.mark.parametrize("name", ["m.zip", "m.tar.gz"])
def test_what_unpacks_to_too_much_is_refused_before_it_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(UploadInvalid, match="unpacks to more"):
        unpack(tmp_path, name, PACKERS[name]({**MODEL, "vocab.txt": bytes(MOST)}))
    assert held(tmp_path / "out") == {}


def test_a_zip_that_says_less_than_it_holds_is_refused(tmp_path: Path) -> None:
    honest = zipped({"config.json": b"{}", "model.safetensors": bytes(50_000)})
    lying = honest.replace((50_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert lying != honest
    with pytest.raises(UploadInvalid):
        unpack(tmp_path, "m.zip", lying)


def test_what_would_fill_the_disk_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageFull):
        unpack(tmp_path, "m.zip", zipped(MODEL), least_free=2**62)


def test_one_name_twice_is_refused(tmp_path: Path) -> None:
    packed = tarred({"config.json": b"{}", "./config.json": b"[]", "model.safetensors": b"x"})
    with pytest.raises(UploadInvalid, match="twice"):
        unpack(tmp_path, "m.tgz", packed)


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UploadInvalid, match="members"):
        unpack(tmp_path, "m.tar", tarred({f"{number}.txt": b"" for number in range(5_001)}, mode="w"))


def test_pickles_alone_are_refused_with_the_line_that_converts_them(tmp_path: Path) -> None:
    with pytest.raises(UploadInvalid) as refusal:
        unpack(tmp_path, "m.zip", zipped({"config.json": b"{}", "pytorch_model.bin": b"x"}))
    assert "save_file" in refusal.value.hint


@given(st.sampled_from(sorted(PACKERS)), st.data())
def test_whatever_archive_is_sent_is_taken_or_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("archive")
    content = data.draw(foreign.spoilt(PACKERS[name](MODEL)) | st.binary(max_size=200))
    before = set(folder.parent.iterdir())
    told = foreign.attempt(TunerError, unpack, folder, name, content, MOST)
    assert set(folder.parent.iterdir()) == before
    if told:
        assert set(held(folder / "out")) == {one["path"] for one in told["files"]} > set()


def test_an_archive_is_unpacked_in_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "m.zip").write_bytes(zipped(MODEL))
    (tmp_path / "out").mkdir()
    wish = Unpack(tmp_path / "m.zip", tmp_path / "out", MOST, 0, allow_pickle=False)
    assert {one["path"] for one in wish.make_apart().files} == set(MODEL)
    (tmp_path / "m.zip").write_bytes(b"PK no zip")
    with pytest.raises(UploadInvalid, match="no archive"):
        wish.make_apart()
