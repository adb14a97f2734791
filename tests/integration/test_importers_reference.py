"""Sample inputs and the comparison that decides whether an artifact is made."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.support.model_files import in_place
from tests.support.tiny_models import VOCAB, write_model
from tuner.importers.huggingface import LoadedModel, load_torch
from tuner.importers.reference import Comparison, compare, reference_outputs, sample_inputs, worst


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


def test_equal_outputs_have_no_error() -> None:
    value = {"y": np.array([1.0, -2.0, 0.0], np.float32)}
    assert compare(value, value) == Comparison(0.0, 0.0, True)


def test_rounding_near_zero_is_no_relative_error() -> None:
    want = {"y": np.array([1.0, -1.0, 1e-9], np.float32)}
    outcome = compare({"y": want["y"] + np.float32(1e-6)}, want)
    assert outcome.ok
    assert outcome.max_rel_error < 1e-5


def test_error_of_a_small_tensor_is_not_hidden_by_a_large_one() -> None:
    want = {"large": np.full(4, 100.0, np.float32), "small": np.full(4, 0.01, np.float32)}
    got = {"large": want["large"], "small": want["small"] * np.float32(1.01)}
    outcome = compare(got, want)
    assert not outcome.ok
    assert outcome.max_rel_error == pytest.approx(0.01, rel=1e-3)
    assert outcome.max_abs_error == pytest.approx(1e-4, rel=1e-3)


def test_tolerance_is_the_callers() -> None:
    want = {"y": np.ones(3, np.float32)}
    got = {"y": np.full(3, 1.01, np.float32)}
    assert not compare(got, want).ok
    assert compare(got, want, rtol=0.02).ok
    assert not compare(got, want, atol=0.02).ok


def test_outputs_as_small_as_the_absolute_tolerance_do_not_pass_as_zeros() -> None:
    want = {"y": np.full(3, 3e-6, np.float32)}
    assert not compare({"y": np.zeros(3, np.float32)}, want).ok
    assert compare(want, want).ok


def test_a_tensor_of_zeros_is_judged_by_the_absolute_tolerance() -> None:
    want = {"y": np.zeros(3, np.float32)}
    assert compare({"y": np.full(3, 1e-7, np.float32)}, want).ok
    assert not compare({"y": np.full(3, 1e-3, np.float32)}, want).ok


@pytest.mark.parametrize(
    "got",
    [
        {"y": np.array([1.0, np.nan], np.float32)},
        {"y": np.array([1.0, np.inf], np.float32)},
        {"y": np.ones((1, 2), np.float32)},
        {},
    ],
)
def test_nan_infinite_missing_and_misshapen_outputs_are_never_ok(got: dict[str, np.ndarray]) -> None:
    outcome = compare(got, {"y": np.ones(2, np.float32)}, rtol=1e9, atol=1e9)
    assert not outcome.ok
    assert math.isinf(outcome.max_abs_error)
    assert math.isinf(outcome.max_rel_error)


def test_nothing_compared_is_not_ok() -> None:
    assert not compare({}, {}).ok


def test_worst_sample_decides() -> None:
    assert worst([Comparison(1.0, 0.1, True), Comparison(0.5, 0.2, False)]) == Comparison(1.0, 0.2, False)
