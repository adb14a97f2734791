"""Single files that hold a model: what is taken, and what the others are told to become."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path

import pytest

from tuner.errors import FormatUnsupported, ModelInvalid, ModelUnknown
from tuner.importers.model_file import check_format, config_beside, onnx_in, tokenizer_beside
from tuner.importers.source import resolve_source


def zipped(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"{}")
    return path


def test_torchscript_is_refused_with_the_line_that_converts_it(tmp_path: Path) -> None:
    file = zipped(tmp_path / "model.pt", "model/data.pkl", "model/code/__torch__.py", "model/constants.pkl")
    with pytest.raises(FormatUnsupported, match="TorchScript") as refused:
        resolve_source(str(file))
    assert "torch.export.save(torch.export.export(" in refused.value.hint


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "checkpoint.ckpt"])
def test_pickles_are_refused_by_name_however_they_were_written(tmp_path: Path, name: str) -> None:
    file = zipped(tmp_path / name, "archive/data.pkl", "archive/data/0")
    with pytest.raises(FormatUnsupported, match=f"{name} is a pickle"):
        resolve_source(str(file))
    file.write_bytes(pickle.dumps({"weight": 1}))
    with pytest.raises(FormatUnsupported, match=f"{name} is a pickle"):
        resolve_source(str(file))


@pytest.mark.parametrize(
    ("name", "what"), [("model.tflite", "TensorFlow Lite"), ("model.gguf", "llama.cpp"), ("model.safetensors", "alone")]
)
def test_other_formats_are_refused_by_what_they_are(tmp_path: Path, name: str, what: str) -> None:
    (tmp_path / name).write_bytes(b"TFL3 and so on")
    with pytest.raises(FormatUnsupported, match=what) as refused:
        resolve_source(str(tmp_path / name))
    assert refused.value.hint


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"just text", b"\x80"])
def test_what_is_no_model_at_all_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.pt2").write_bytes(content)
    with pytest.raises(FormatUnsupported, match=r"model\.pt2 is no model"):
        resolve_source(str(tmp_path / "model.pt2"))


def test_programs_and_graphs_are_taken_and_known_by_what_they_are(tmp_path: Path) -> None:
    program = zipped(tmp_path / "model.pt2", "model/archive_format", "model/models/model.json")
    (tmp_path / "model.onnx").write_bytes(b"\x08\x08")
    for file in (program, tmp_path / "model.onnx"):
        source = resolve_source(str(file))
        assert (source.source, source.location, source.family) == ("file", str(file), "")
        assert source.stamp
        assert source.folder is None
        assert not source.is_on_hub
        assert source.has_files


def test_a_program_by_another_name_is_told_its_own(tmp_path: Path) -> None:
    with pytest.raises(FormatUnsupported, match="another name") as refused:
        check_format(zipped(tmp_path / "model.pt", "model/archive_format", "model/models/model.json"))
    assert "model.pt2" in refused.value.hint


def test_a_file_that_is_not_there_is_unknown(tmp_path: Path) -> None:
    with pytest.raises(ModelUnknown, match="no folder or file"):
        resolve_source(str(tmp_path / "model.onnx"))


def test_a_folder_without_other_weights_means_its_onnx_file(tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model.onnx").write_bytes(b"\x08\x08")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (tmp_path / "vocab.txt").write_text("[PAD]\n")
    file = onnx_in(tmp_path)
    assert file == tmp_path / "onnx" / "model.onnx"
    assert resolve_source(str(tmp_path)).location == str(file)
    assert config_beside(file) == {"model_type": "bert"}
    assert [one.name for one in tokenizer_beside(file)] == ["vocab.txt"]


def test_a_configuration_of_another_kind_of_model_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "resnet"}))
    assert config_beside(tmp_path / "model.onnx") is None


def test_no_file_is_waited_for(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "model.onnx")
    with pytest.raises(ModelInvalid, match="named pipe"):
        resolve_source(str(tmp_path / "model.onnx"))
