"""Each family and head is compared with the library on every kind of row that an artifact of it takes."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.support.model_files import in_place
from tests.support.tiny_made import tiny_model
from tests.support.tiny_models import CONFIGS, write_model
from tuner.importers.faithful import check_faithful
from tuner.importers.families import FAMILIES
from tuner.importers.huggingface import LoadedModel, load_torch

HEADS = ("encoder", "sequence-classification", "token-classification", "question-answering", "multiple-choice")
NOT_THERE = [("nomic_bert", "question-answering"), ("nomic_bert", "multiple-choice")]  # the library has none
SIDES = ["padded on the left", "empty"]
LENGTH = 48


def loaded(kind: str, head: str = "encoder") -> LoadedModel:
    return load_torch(in_place(str(tiny_model(kind, head)), head=head))


@pytest.mark.parametrize(("kind", "head"), [pair for pair in product(CONFIGS, HEADS) if pair not in NOT_THERE])
def test_every_kind_of_row_is_what_the_library_computes(kind: str, head: str) -> None:
    model = loaded(kind, head)
    assert model.weights == "pretrained"
    found = check_faithful(model, LENGTH)
    assert found["max_rel_error"] < 1e-3
    assert found["cases"][0] == "full"
    right_only = FAMILIES[model.source.family].right_only
    assert [case for case in SIDES if case in found["cases"]] == ([] if right_only else SIDES)


@pytest.mark.parametrize("head", ["sequence-classification", "multiple-choice"])
def test_a_head_that_takes_the_mean_of_tokens_gets_the_plain_mask(tmp_path: Path, head: str) -> None:
    config = CONFIGS["modernbert"] | {"classifier_pooling": "mean"}
    model = load_torch(in_place(str(write_model(tmp_path, config, head)), head=head))
    assert check_faithful(model, LENGTH)["max_rel_error"] < 1e-3


def test_a_row_of_padding_is_the_librarys_however_large_scores_are(tmp_path: Path) -> None:
    """Scores of trained models go beyond 32, half of what a float32 near 1e9 can tell apart."""
    write_model(tmp_path, "bert")
    weights = load_file(tmp_path / "model.safetensors")
    wide = {name: value * 8 if ".query." in name or ".key." in name else value for name, value in weights.items()}
    save_file(wide, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert check_faithful(load_torch(in_place(str(tmp_path))), LENGTH)["max_rel_error"] < 1e-3


@pytest.mark.parametrize("length", [1, 2, 3])
def test_short_shapes_are_compared_too(length: int) -> None:
    assert check_faithful(loaded("bert"), length)["max_rel_error"] < 1e-3


def test_a_head_that_scores_choices_gives_one_number_for_each() -> None:
    assert loaded("bert", "multiple-choice").output_names == ("logits",)
    assert load_file(tiny_model("bert", "multiple-choice") / "model.safetensors")["classifier.weight"].shape == (1, 32)
