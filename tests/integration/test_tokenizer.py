"""The tokenizer travels: text goes in wherever an artifact is, and where there is none it is said."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from tests.support.model_files import in_place
from tests.support.sentence_models import write_json, write_sentence_model
from tests.support.tiny_imports import import_tiny, local_target
from tests.support.tiny_models import write_model
from tuner.artifact.format import pack, sha256_of
from tuner.artifact.loader import load
from tuner.client.text import encode
from tuner.compiler.module import base_manifest, seal, write_manifest
from tuner.errors import InvalidInput
from tuner.importers.cache import Imported
from tuner.importers.huggingface import load_torch
from tuner.importers.tokenizer import load_tokenizer, write_tokenizer
from tuner.jobs.making import Module

TEXT = "the ship left the harbour, in winter"
SEQ_LEN = 32


def artifact(imported: Imported, root: Path, place: Path) -> tuple[Path, dict[str, Any]]:
    """A tar as jobs make it, and its manifest."""
    target, folder = local_target(), place / "module"
    compiled = Module(root, imported, folder, False).compile(target, {})
    write_manifest(folder, base_manifest(imported, 1, SEQ_LEN, target, compiled))
    manifest = seal(folder, json.loads((folder / "manifest.json").read_text()))
    pack(folder, place / "artifact.tar")
    return place / "artifact.tar", manifest


def test_text_goes_in_where_nothing_but_the_artifact_is(tmp_path: Path) -> None:
    folder = write_sentence_model(tmp_path / "model", prompts={"query": "light: "}, default_prompt_name="query")
    imported = import_tiny(folder, "sentence-embedding", 1, SEQ_LEN, tmp_path / "imports")
    wanted = AutoTokenizer.from_pretrained(folder)("light: " + TEXT)["input_ids"]
    tar, manifest = artifact(imported, tmp_path / "imports", tmp_path)
    folder.rename(tmp_path / "elsewhere")
    assert manifest["tokenizer"] == ["tokenizer.json", "tokenizer_config.json", "vocab.txt"]
    assert manifest["model"]["prompts"] == {"query": "light: "}
    inputs = encode(tar, manifest, TEXT)
    assert inputs["input_ids"][0, : len(wanted)].tolist() == wanted
    assert load(tar).run(**inputs)["sentence_embedding"].shape == (1, 32)
    with tarfile.open(tar) as members:
        members.extractall(tmp_path / "unpacked", filter="data")
    assert {name: sha256_of(tmp_path / "unpacked" / name) for name in manifest["files"]} == manifest["files"]
    assert set(manifest["tokenizer"]) < set(manifest["files"])
    assert AutoTokenizer.from_pretrained(tmp_path / "unpacked")("light: " + TEXT)["input_ids"] == wanted
    assert Tokenizer.from_file(str(tmp_path / "unpacked" / "tokenizer.json")).encode("light: " + TEXT).ids == wanted


def test_a_tokenizer_that_names_no_class_is_found_all_the_same(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "tokenizer_config.json").unlink()
    tokenizer, why = load_tokenizer(folder)
    assert tokenizer is not None, why
    write_tokenizer(tokenizer, folder, tmp_path / "written")
    again = AutoTokenizer.from_pretrained(tmp_path / "written")
    assert again(TEXT)["input_ids"] == tokenizer(TEXT)["input_ids"]


def test_code_that_a_tokenizer_brings_is_not_run_and_nobody_is_asked_whether_it_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, ran = write_model(tmp_path / "model"), tmp_path / "ran"
    (folder / "config.json").unlink()  # as it travels with an artifact
    code = "from transformers import BertTokenizer\n\nclass Mine(BertTokenizer):\n    pass\n"
    (folder / "mine.py").write_text(f"{code}\nopen({str(ran)!r}, 'w').close()\n")
    told = {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["mine.Mine", "mine.Mine"]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or "y")
    load_tokenizer(folder)
    assert (asked, ran.exists()) == ([], False)


def unreadable(folder: Path) -> None:
    (folder / "vocab.txt").unlink()
    (folder / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "Nope"}}')


def without_words(folder: Path) -> None:
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")


def cut_off(folder: Path) -> None:
    (folder / "vocab.txt").unlink()
    (folder / "tokenizer.json").write_text('{"version": "1.0", "mod')


def without_vocabulary(folder: Path) -> None:
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer"})
    (folder / "vocab.txt").unlink(missing_ok=True)


BROKEN = {
    unreadable: "tokenizer.json",
    cut_off: "tokenizer.json",
    without_words: "knows no words",
    without_vocabulary: "has no tokenizer",
}


@pytest.mark.parametrize("damage", BROKEN, ids=lambda damage: damage.__name__)
def test_a_tokenizer_that_can_not_be_used_is_said_and_harms_no_import(tmp_path: Path, damage: Any) -> None:
    folder = write_model(tmp_path / "model")
    damage(folder)
    loaded = load_torch(in_place(str(folder)))
    assert (loaded.tokenizer, loaded.weights) == (None, "pretrained")
    assert BROKEN[damage] in loaded.note
    manifest = {"tokenizer": [], "model": {"location": str(folder)}}
    with pytest.raises(InvalidInput, match=BROKEN[damage]) as refusal:
        encode(tmp_path / "artifact.tar", manifest, TEXT)
    assert "--inputs" in refusal.value.hint


def test_an_artifact_from_before_asks_its_model(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    inputs = [{"name": "input_ids", "shape": [1, SEQ_LEN], "dtype": "int32"}]
    manifest = {"model": {"location": str(folder)}, "inputs": inputs}
    assert encode(tmp_path / "artifact.tar", manifest, TEXT)["input_ids"][0, 0] == 2
    without_vocabulary(folder)
    with pytest.raises(InvalidInput, match="no tokenizer"):
        encode(tmp_path / "artifact.tar", manifest, TEXT)
