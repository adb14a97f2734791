"""Sample inputs: text that fills the shape, or part of it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.model_files import in_place
from tests.support.tiny_models import VOCAB, write_model
from tuner.importers.huggingface import LoadedModel, load_torch
from tuner.importers.reference import reference_outputs, sample_inputs


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_torch(in_place(str(write_model(tmp_path_factory.mktemp("model")))))


@pytest.fixture(scope="module")
def wordless(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_torch(in_place(str(write_model(tmp_path_factory.mktemp("model"), "distilbert", tokenizer=False))))


@pytest.mark.parametrize(("batch", "seq_len"), [(1, 1), (1, 64), (3, 32)])
@pytest.mark.parametrize("which", ["loaded", "wordless"])
def test_samples_fit_the_shape_and_the_vocabulary(
    which: str, batch: int, seq_len: int, request: pytest.FixtureRequest
) -> None:
    model: LoadedModel = request.getfixturevalue(which)
    samples = sample_inputs(model, batch, seq_len)
    assert len(samples) == 3
    for sample in samples:
        assert tuple(sample) == model.input_names
        for value in sample.values():
            assert (value.shape, value.dtype) == ((batch, seq_len), np.int32)
        assert sample["input_ids"].min() >= 0
        assert sample["input_ids"].max() < len(VOCAB)
        reference_outputs(model, sample)


@pytest.mark.parametrize("which", ["loaded", "wordless"])
def test_samples_are_full_padded_and_mixed(which: str, request: pytest.FixtureRequest) -> None:
    full, short, mixed = sample_inputs(request.getfixturevalue(which), 2, 64)
    assert full["attention_mask"].all()
    assert 0 < short["attention_mask"].mean() < 0.7
    assert mixed["attention_mask"][1].all()
    assert not mixed["attention_mask"][0].all()
    assert (np.diff(short["attention_mask"], axis=1) <= 0).all(), "padding is on the right"
    assert len(np.unique(full["input_ids"])) > 10


def test_samples_repeat(loaded: LoadedModel, wordless: LoadedModel) -> None:
    for model in (loaded, wordless):
        for first, second in zip(sample_inputs(model, 2, 16), sample_inputs(model, 2, 16), strict=True):
            np.testing.assert_array_equal(first["input_ids"], second["input_ids"])
