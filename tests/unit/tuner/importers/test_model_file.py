"""Single files that hold a model: what is taken, and what the others are told to become."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path

import pytest

from tests.support.tiny_models import CONFIGS, write_untrained
from tuner.errors import FormatUnsupported, ModelInvalid, ModelUnknown
from tuner.importers.model_file import check_format, config_beside, files_beside, graph_among, graph_in
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


FOREIGN = {
    "model.tflite": ("TensorFlow Lite", "tf2onnx.convert --tflite {path} --output model.onnx"),
    "graph.pb": ("a graph of TensorFlow", "tf2onnx.convert --graphdef {path}"),
    "saved_model.pb": ("SavedModel", "tf2onnx.convert --saved-model {folder} --output model.onnx"),
    "model.h5": ("Keras", "tf2onnx.convert --keras {path} --output model.onnx"),
    "model.keras": ("Keras", "keras.models.load_model('{path}').export('model.onnx', format='onnx')"),
    "tf_model.h5": ("TensorFlow weights", "from_pretrained(folder, from_tf=True)"),
    "flax_model.msgpack": ("Flax", "from_pretrained(folder, from_flax=True)"),
    "model.mlmodel": ("Core ML", "PyTorch model"),
    "openvino_model.xml": ("OpenVINO", "PyTorch model"),
    "model.gguf": ("llama.cpp", "PyTorch model"),
    "model.ort": ("ONNX Runtime's own", ".onnx file"),
}


@pytest.mark.parametrize("name", [*FOREIGN, "model.safetensors"])
def test_other_formats_are_refused_by_what_they_are_with_what_converts_them(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    what, hint = FOREIGN.get(name, ("weights alone", "config.json"))
    file.write_bytes(b"TFL3 and so on")
    with pytest.raises(FormatUnsupported, match=what) as refused:
        resolve_source(str(file))
    assert hint.format(path=file, folder=tmp_path) in refused.value.hint


@pytest.mark.parametrize("name", FOREIGN)
def test_a_folder_that_holds_nothing_but_another_format_is_refused_by_that(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS["bert"]))
    (tmp_path / name).write_bytes(b"TFL3 and so on")
    what, hint = FOREIGN[name]
    with pytest.raises(FormatUnsupported, match=f"holds {name}, .*{what}") as refused:
        resolve_source(str(tmp_path))
    assert hint.format(path=tmp_path / name, folder=tmp_path) in refused.value.hint


@pytest.mark.parametrize("name", ["model.mlpackage", "model.mlmodelc"])
def test_core_mls_folders_are_known_by_their_names(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(FormatUnsupported, match="Core ML"):
        resolve_source(str(tmp_path / name))


def test_other_formats_beside_weights_that_are_taken_harm_nothing(tmp_path: Path) -> None:
    folder = write_untrained(tmp_path)
    for name in FOREIGN:
        (folder / name).write_bytes(b"TFL3 and so on")
    assert resolve_source(str(folder)).family == "bert"


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
    file = graph_in(tmp_path)
    assert file == tmp_path / "onnx" / "model.onnx"
    assert resolve_source(str(tmp_path)).location == str(file)
    assert config_beside(file) == {"model_type": "bert"}
    assert files_beside(file) == {name: tmp_path / name for name in ("config.json", "vocab.txt")}
    (tmp_path / "1_Pooling").mkdir()
    for name in ("modules.json", "1_Pooling/config.json"):
        (tmp_path / name).write_text("{}")
    assert set(files_beside(file)) == {"config.json", "vocab.txt", "modules.json", "1_Pooling/config.json"}
    (tmp_path / "model.safetensors").touch()
    assert graph_in(tmp_path) is None, "a folder with other weights is those"


def test_which_file_is_the_models() -> None:
    assert graph_among(["onnx/model.onnx", "onnx/model_O2.onnx", "other.onnx"]) == "onnx/model.onnx"
    assert graph_among(["encoder.onnx", "onnx/model_O2.onnx", "config.json"]) == "encoder.onnx"
    assert graph_among(["model.pt2", "config.json"]) == "model.pt2"
    assert graph_among(["a.onnx", "b.onnx"]) is None


def test_a_configuration_of_another_kind_of_model_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "resnet"}))
    assert config_beside(tmp_path / "model.onnx") is None


def test_no_file_is_waited_for(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "model.onnx")
    with pytest.raises(ModelInvalid, match="named pipe"):
        resolve_source(str(tmp_path / "model.onnx"))
