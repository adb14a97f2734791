"""What an upload may be called is decided by names alone, and no name leads anywhere else."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import foreign
from tuner.errors import UploadInvalid
from tuner.schemas import UploadFileIn
from tuner.uploads import names

HOSTILE = [
    "", ".", "..", "../config.json", "a/../config.json", "/etc/passwd", "/config.json", "a//config.json", "a/b/c.json",
    "C:\\config.json", "a\\config.json", "config.json/", "config.json\x00.txt", "config.json\n", ".config.json",
    "a/.json", "config.json.", "CON|.json", "confıg.json", "config.json ", "~/config.json", "x" * 300 + ".json",
]  # fmt: skip


def file(path: str, size_bytes: int = 1, digit: str = "0") -> UploadFileIn:
    return UploadFileIn.model_construct(path=path, size_bytes=size_bytes, sha256=digit * 64)


@pytest.mark.parametrize("path", HOSTILE)
def test_a_path_that_could_lead_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(UploadInvalid):
        names.check_files([file(path), file("config.json")], allow_pickle=False)


@given(st.text(max_size=30) | st.lists(st.sampled_from(["..", ".", "a", "/", "\\", "\x00", ".json"])).map("".join))
def test_whatever_path_is_taken_stays_in_its_folder(path: str) -> None:
    if foreign.attempt(UploadInvalid, names.check_files, [file(path)], False) is None and _is_fine(path):
        parts = PurePosixPath(path).parts
        assert len(parts) <= 2
        assert not any(part.startswith((".", "/")) or part == ".." for part in parts)
        assert path.isascii()
        assert path.isprintable()


def _is_fine(path: str) -> bool:
    try:
        names.check_path(path)
    except UploadInvalid:
        return False
    return True


@pytest.mark.parametrize(
    "path",
    [
        "config.json", "model.safetensors", "model-00001-of-00002.safetensors", "vocab.txt", "spiece.model",
        "modules.json", "1_Pooling/config.json", "2_Dense/model.safetensors", "onnx/model.onnx", "model.onnx_data",
        "model.onnx.data", "encoder.pt2", "chat_template.jinja",
    ],
)  # fmt: skip
def test_files_of_models_are_taken(path: str) -> None:
    names.check_files([file(path)], allow_pickle=False)


@pytest.mark.parametrize("path", ["model.h5", "weights.pkl", "run.py", "README.md", "model.pt", "lib.so", "model.bin"])
def test_other_kinds_are_refused_by_name(path: str) -> None:
    with pytest.raises(UploadInvalid, match=path):
        names.check_files([file(path), file("config.json")], allow_pickle=True)


@pytest.mark.parametrize("path", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin"])
def test_pickles_are_refused_with_the_line_that_converts_them_unless_they_are_asked_for(path: str) -> None:
    with pytest.raises(UploadInvalid) as refusal:
        names.check_files([file(path)], allow_pickle=False)
    assert "save_file" in refusal.value.hint
    assert "TUNER_ALLOW_PICKLE_UPLOADS" in refusal.value.hint
    names.check_files([file(path)], allow_pickle=True)


@pytest.mark.parametrize("paths", ["a.json a.json", "a.json A.json", "a.json a.json/b.json", "A/b.json a/c.json"])
def test_what_could_be_one_file_on_some_disk_is_refused(paths: str) -> None:
    with pytest.raises(UploadInvalid, match="twice"):
        names.check_files([file(path) for path in paths.split()], allow_pickle=False)


def test_a_text_larger_than_any_is_refused() -> None:
    with pytest.raises(UploadInvalid, match="may have"):
        names.check_files([file("tokenizer.json", names.MOST_TEXT_BYTES + 1)], allow_pickle=False)


def test_an_archive_comes_by_itself() -> None:
    names.check_files([file("model.tar.gz")], allow_pickle=False)
    with pytest.raises(UploadInvalid, match="beside other files"):
        names.check_files([file("model.zip"), file("config.json")], allow_pickle=False)


def test_of_a_folder_as_published_what_is_needed_is_chosen() -> None:
    needed = ["1_Pooling/config.json", "config.json", "model.safetensors", "modules.json", "tokenizer.json"]
    others = [
        ".gitattributes", "README.md", "onnx/config.json", "onnx/model.onnx", "onnx/model_O4.onnx", "pytorch_model.bin",
        "rust_model.ot", "runs/events.txt", "tf_model.h5",
    ]  # fmt: skip
    assert names.chosen([*needed, *others], allow_pickle=True) == (needed, sorted(others))


def test_a_folder_of_a_graph_alone_keeps_it() -> None:
    paths = ["config.json", "onnx/model.onnx", "onnx/model.onnx_data"]
    assert names.chosen(paths, allow_pickle=False) == (paths, [])


def test_a_folder_that_has_pickled_weights_only_is_refused_with_the_line_that_converts_them() -> None:
    with pytest.raises(UploadInvalid, match=r"pytorch_model\.bin is pickled"):
        names.chosen(["config.json", "pytorch_model.bin"], allow_pickle=False)
    assert names.chosen(["config.json", "pytorch_model.bin"], allow_pickle=True)[1] == []


def test_the_digest_tells_contents_apart_and_not_orders() -> None:
    one, two = file("a.json"), file("b.json", 2)
    assert names.digest_of([one, two]) == names.digest_of([two, one])
    others = [file("a.json", 3), file("c.json"), file("a.json", digit="1")]
    assert len({names.digest_of([other, two]) for other in [one, *others]}) == 4
