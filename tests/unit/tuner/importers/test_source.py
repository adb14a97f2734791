"""What a model's name means, decided without torch, tvm or a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tiny_models import CONFIGS, write_config_only, write_untrained
from tuner.errors import InvalidInput, ModelInvalid, ModelUnknown, SequenceTooLong
from tuner.importers.presets import PRESETS
from tuner.importers.source import check_seq_len, resolve_source


@pytest.mark.parametrize(
    ("name", "family", "hub_id"),
    [
        ("bert-base-uncased", "bert", "google-bert/bert-base-uncased"),
        ("distilbert-base-uncased", "distilbert", "distilbert/distilbert-base-uncased"),
        ("minilm-l6", "bert", "sentence-transformers/all-MiniLM-L6-v2"),
    ],
)
def test_preset_is_known_without_network(name: str, family: str, hub_id: str) -> None:
    source = resolve_source(name)
    assert (source.source, source.family, source.head, source.max_seq_len) == ("preset", family, "encoder", 512)
    assert source.location == hub_id or source.weights == "pretrained"


def test_preset_wins_over_a_folder_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_untrained(tmp_path / "minilm-l6")
    monkeypatch.chdir(tmp_path)
    assert resolve_source("minilm-l6").source == "preset"


def test_folder_tells_family_head_and_length(tmp_path: Path) -> None:
    config = CONFIGS["distilbert"] | {"architectures": ["DistilBertForSequenceClassification"]}
    source = resolve_source(str(write_untrained(tmp_path, config)))
    assert (source.source, source.family, source.head) == ("folder", "distilbert", "sequence-classification")
    assert (source.max_seq_len, source.weights, source.folder) == (64, "pretrained", tmp_path)


def test_roberta_loses_the_positions_up_to_its_padding_id(tmp_path: Path) -> None:
    assert resolve_source(str(write_untrained(tmp_path, CONFIGS["roberta"]))).max_seq_len == 64


def test_relative_folder_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_untrained(tmp_path / "models" / "mine")
    monkeypatch.chdir(tmp_path)
    assert resolve_source("models/mine").folder == tmp_path / "models" / "mine"


def test_hub_id_leaves_open_what_only_its_files_tell() -> None:
    source = resolve_source("some-org/some-model")
    assert (source.source, source.location, source.folder) == ("hub", "some-org/some-model", None)
    assert (source.family, source.head, source.max_seq_len, source.weights) == ("", "", None, "unknown")


@pytest.mark.parametrize("revision", ["main", "v1.0", "refs/pr/7", 40 * "a"])
def test_revision_of_a_hub_id_comes_after_an_at(revision: str) -> None:
    source = resolve_source(f"some-org/some-model@{revision}")
    assert (source.location, source.revision, source.is_on_hub) == ("some-org/some-model", revision, True)
    assert source.name == f"some-org/some-model@{revision}"


@pytest.mark.parametrize("name", ["some-org/some-model@", "some-org/some-model@v1@v2", "@v1", "some-org/m@-x"])
def test_revision_that_can_be_none_is_no_hub_id(name: str) -> None:
    with pytest.raises(ModelUnknown, match="no hub id"):
        resolve_source(name)


def test_head_asked_for_wins_over_the_folder(tmp_path: Path) -> None:
    assert resolve_source(str(write_untrained(tmp_path)), head="sequence-classification").head == (
        "sequence-classification"
    )


def test_unknown_head_is_refused() -> None:
    with pytest.raises(InvalidInput, match="next-sentence"):
        resolve_source("minilm-l6", head="next-sentence")


def test_unknown_name_suggests_the_nearest_preset() -> None:
    with pytest.raises(ModelUnknown, match="bert-base-uncasd") as caught:
        resolve_source("bert-base-uncasd")
    assert "bert-base-uncased" in caught.value.hint


@pytest.mark.parametrize("name", ["", "   ", "no such model", "zzz"])
def test_unknown_name_lists_all_presets_when_none_is_near(name: str) -> None:
    with pytest.raises(ModelUnknown) as caught:
        resolve_source(name)
    assert all(preset in caught.value.hint for preset in PRESETS)


@pytest.mark.parametrize("name", ["x" * 400, "~nobody-of-that-name/bert", "bert\0base"])
def test_name_that_can_be_no_file_is_unknown(name: str) -> None:
    with pytest.raises(ModelUnknown):
        resolve_source(name)


def test_missing_folder_is_not_taken_for_a_hub_id(tmp_path: Path) -> None:
    with pytest.raises(ModelUnknown, match="nowhere"):
        resolve_source(str(tmp_path / "nowhere"))


def test_folder_without_config_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ModelInvalid, match=r"config\.json"):
        resolve_source(str(tmp_path))


def test_weights_alone_are_no_model(tmp_path: Path) -> None:
    file = write_untrained(tmp_path) / "model.safetensors"
    with pytest.raises(ModelInvalid, match="weights alone"):
        resolve_source(str(file))


@pytest.mark.parametrize("content", ["{not json", "[1, 2]", "\x00"])
def test_damaged_config_is_named(tmp_path: Path, content: str) -> None:
    (write_untrained(tmp_path) / "config.json").write_text(content)
    with pytest.raises(ModelInvalid, match=r"config\.json"):
        resolve_source(str(tmp_path))


def test_foreign_family_is_refused_with_the_supported_ones(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid, match="llama") as caught:
        resolve_source(str(write_untrained(tmp_path, {"model_type": "llama"})))
    assert "distilbert" in caught.value.hint


def test_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid, match="no weights"):
        resolve_source(str(write_config_only(tmp_path, CONFIGS["bert"])))


def _truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-8])


def _scribble(file: Path) -> None:
    file.write_bytes(b"\xff" * 64)


def _empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("damage", [_truncate, _scribble, _empty])
def test_corrupt_safetensors_are_named(tmp_path: Path, damage: object) -> None:
    file = write_untrained(tmp_path) / "model.safetensors"
    assert callable(damage)
    damage(file)
    with pytest.raises(ModelInvalid, match=r"model\.safetensors is damaged"):
        resolve_source(str(tmp_path))


def test_missing_shard_is_named(tmp_path: Path) -> None:
    folder = write_untrained(tmp_path)
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(ModelInvalid, match="model-00002-of-00002"):
        resolve_source(str(folder))


def test_shard_that_lies_elsewhere_is_refused(tmp_path: Path) -> None:
    folder = write_untrained(tmp_path / "model")
    (folder / "model.safetensors").rename(tmp_path / "elsewhere.safetensors")
    index = {"weight_map": {"a": "../elsewhere.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelInvalid, match=r"\.\./elsewhere"):
        resolve_source(str(folder))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "model.safetensors.index.json"])
def test_what_is_no_regular_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    folder = write_untrained(tmp_path)
    if name != "config.json":
        (folder / "model.safetensors").unlink()
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(ModelInvalid, match=f"{name} is a named pipe"):
        resolve_source(str(folder))


def test_shard_that_is_a_named_pipe_is_refused_by_name(tmp_path: Path) -> None:
    folder = write_untrained(tmp_path)
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model-1.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model-1.safetensors"}}))
    with pytest.raises(ModelInvalid, match=r"model-1\.safetensors is a named pipe"):
        resolve_source(str(folder))


@pytest.mark.parametrize(("path", "kind"), [("/dev/zero", "a device"), ("pipe.operator.json", "a named pipe")])
def test_path_that_is_no_folder_and_no_regular_file_is_refused_by_name(tmp_path: Path, path: str, kind: str) -> None:
    place = tmp_path / path  # of an absolute path that one
    if not place.exists():
        os.mkfifo(place)
    with pytest.raises(ModelInvalid, match=f"{path} is {kind}"):
        resolve_source(str(place))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
def test_sparse_file_of_50_gib_is_refused_at_once(tmp_path: Path, name: str) -> None:
    folder = write_untrained(tmp_path)
    if name != "config.json":
        (folder / "model.safetensors").unlink()
    (folder / name).touch()
    os.truncate(folder / name, 50 * 2**30)
    with pytest.raises(ModelInvalid, match=f"{name} has 53,687,091,200 bytes"):
        resolve_source(str(folder))


def test_config_of_a_thousand_braces_is_damaged(tmp_path: Path) -> None:
    (write_untrained(tmp_path) / "config.json").write_text("[" * 200_000)
    with pytest.raises(ModelInvalid, match=r"config\.json can't be read"):
        resolve_source(str(tmp_path))


def test_pickle_only_needs_the_flag(tmp_path: Path) -> None:
    folder = write_config_only(tmp_path, CONFIGS["bert"])
    (folder / "pytorch_model.bin").write_bytes(b"PK")
    with pytest.raises(ModelInvalid, match="pickle") as caught:
        resolve_source(str(folder))
    assert "--allow-pickle" in caught.value.hint
    assert resolve_source(str(folder), allow_pickle=True).allow_pickle


def test_preset_finds_weights_of_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = PRESETS["minilm-l6"].package
    folder = write_untrained(tmp_path / "carrier" / "weights")
    info = tmp_path / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "RECORD").write_text("carrier/weights/config.json,,\ncarrier/weights/model.safetensors,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    source = resolve_source("minilm-l6")
    assert (source.source, source.weights, source.folder) == ("preset", "pretrained", folder)


def test_sequence_over_the_maximum_is_refused_with_the_limit() -> None:
    check_seq_len("minilm-l6", 512, 512)
    check_seq_len("some-org/some-model", None, 100_000)
    with pytest.raises(SequenceTooLong, match="at most 512"):
        check_seq_len("minilm-l6", 512, 513)


def test_resolving_loads_no_heavy_library(tmp_path: Path) -> None:
    code = (
        "import sys; from tuner.importers.source import resolve_source; resolve_source(sys.argv[1]);"
        "resolve_source('minilm-l6');"
        "print([m for m in ('torch', 'tvm', 'transformers', 'huggingface_hub') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(write_untrained(tmp_path))]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"
