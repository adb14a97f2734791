"""What a job is told of a model in memory."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tuner.errors import InvalidInput
from tunesmith.handing_over import Handed, hand_over, wish_for

HANDED = Handed("minilm-l6", "minilm-l6")


class PreTrainedModel:
    """Of the library, as far as it matters here."""

    def __init__(self, name: str) -> None:
        self.config = SimpleNamespace(_name_or_path=name)

    def save_pretrained(self, folder: Path) -> None:
        folder.mkdir()


class BertForMaskedLM(PreTrainedModel):
    pass


def test_a_folder_is_told_by_its_whole_path_and_a_name_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    assert hand_over("mine", tmp_path).model == str(tmp_path / "mine")
    assert hand_over("some/model@v1", tmp_path).model == "some/model@v1"


def test_a_network_is_saved_under_its_name_with_its_own_head(tmp_path: Path) -> None:
    handed = hand_over(BertForMaskedLM("company/sentiment"), tmp_path)
    assert (handed.model, handed.name, handed.head) == (str(tmp_path / "sentiment"), "sentiment", "masked-lm")
    assert hand_over(PreTrainedModel(""), tmp_path).name == "PreTrainedModel"


def test_what_is_no_model_is_refused_by_its_kind(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="A dict is no model"):
        hand_over({}, tmp_path)


def test_a_module_without_example_inputs_is_refused(tmp_path: Path) -> None:
    class Module:
        pass

    with pytest.raises(InvalidInput, match="exported with example inputs"):
        hand_over(Module(), tmp_path)


def test_a_program_has_its_shapes_in_it() -> None:
    program = Handed("/tmp/Net.pt2", "Net", is_program=True)
    assert wish_for(program, (np.zeros((2, 3, 8, 8)),)).batch is None
    with pytest.raises(InvalidInput, match="texts are for known encoders"):
        wish_for(program, texts=["a ship"])


def test_texts_are_told_by_their_lengths() -> None:
    assert wish_for(HANDED, texts=["a ship.", "water"]).text_lengths == [5, 3]
    tokenizer = lambda texts: {"input_ids": [[0] * 7 for _ in texts]}  # noqa: E731
    assert wish_for(HANDED, texts=["a ship.", "water"], tokenizer=tokenizer).text_lengths == [7, 7]


@pytest.mark.parametrize("inputs", [{"input_ids": np.zeros((2, 16))}, (np.zeros((2, 16)),), np.zeros((2, 16))])
def test_example_inputs_tell_the_shape(inputs: Any) -> None:
    wish = wish_for(HANDED, inputs)
    assert (wish.batch, wish.seq_len, wish.text_lengths) == (2, 16, None)


def test_without_either_the_service_chooses() -> None:
    wish = wish_for(HANDED)
    assert (wish.batch, wish.seq_len, wish.text_lengths, wish.lengths) == (None, None, None, None)


def test_budgets_are_presets_or_trials() -> None:
    assert wish_for(HANDED, budget="full").budget.preset == "full"
    assert wish_for(HANDED, budget=64).budget.trials == 64


@pytest.mark.parametrize(
    "asked", [{"budget": "soon"}, {"texts": []}, {"example_inputs": [1]}, {"example_inputs": np.zeros(3)}]
)
def test_what_says_nothing_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        wish_for(HANDED, **asked)
