"""Texts as callers give them, packed without padding and given back as they came."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
import pytest

from tests.support.memory import resident_bytes
from tuner.artifact.texts import Texts, request

NAMES = ["input_ids", "token_type_ids"]


def test_lists_lie_one_after_the_other() -> None:
    wanted = request({"input_ids": [[5, 6, 7], [8]]}, NAMES, 10)
    (run,) = wanted.runs(100, 2)
    assert run["input_ids"].tolist() == [5, 6, 7, 8]
    assert run["token_type_ids"].tolist() == [0, 0, 0, 0]
    assert run["positions"].tolist() == [2, 3, 4, 2]
    assert run["starts"].tolist() == [0, 3]
    assert all(values.dtype == np.int32 for values in run.values())
    rows = np.arange(8.0).reshape(4, 2)
    assert [part.tolist() for part in wanted.by_token(rows)] == [[[0, 1], [2, 3], [4, 5]], [[6, 7]]]


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_is_skipped_and_comes_back_as_zeros(side: str) -> None:
    mask = np.array([[1, 1, 1], [0, 0, 1] if side == "left" else [1, 0, 0]])
    ids = np.where(mask, np.arange(6).reshape(2, 3) + 1, 99)
    wanted = request({"input_ids": ids, "attention_mask": mask}, NAMES, 10)
    (run,) = wanted.runs(100, 0)
    assert run["input_ids"].tolist() == [1, 2, 3, 6 if side == "left" else 4]
    padded = wanted.by_token(np.ones((4, 2)))
    assert isinstance(padded, np.ndarray)
    assert (padded[..., 0] == mask).all()


def test_arrays_without_a_mask_have_no_padding() -> None:
    wanted = request({"input_ids": np.ones((2, 3), np.int64)}, NAMES, 10)
    assert wanted.lengths.tolist() == [3, 3]


def test_a_large_batch_is_several_runs_and_no_text_is_cut() -> None:
    lengths = [5, 4, 9, 1]
    wanted = request({"input_ids": [list(range(n)) for n in lengths]}, NAMES, 10)
    parts = list(wanted.runs(9, 0))
    assert [part["input_ids"].size for part in parts] == [9, 9, 1]
    assert [part["starts"].tolist() for part in parts] == [[0, 5], [0], [0]]
    assert np.concatenate([part["input_ids"] for part in parts]).tolist() == [i for n in lengths for i in range(n)]


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        ({}, "The inputs are input_ids, token_type_ids, attention_mask; got none."),
        ({"input_ids": [[1]], "ids": 3}, "got ids, input_ids"),
        ({"input_ids": []}, "There are no texts."),
        ({"input_ids": [[1], []]}, "Text 1 has no tokens."),
        ({"input_ids": np.ones((2, 2)), "attention_mask": np.array([[1, 1], [0, 0]])}, "Text 1 has no tokens."),
        ({"input_ids": [[1], [1] * 11]}, "Text 1 has 11 tokens, the model takes 10."),
        ({"input_ids": [[1]], "attention_mask": [[1]]}, "leave attention_mask out"),
        ({"input_ids": [[1, 2]], "token_type_ids": [[1]]}, "token_type_ids and input_ids are of different lengths."),
        ({"input_ids": np.ones((1, 2)), "attention_mask": np.ones((1, 3))}, "attention_mask has shape"),
        ({"input_ids": np.ones((1, 2)), "token_type_ids": np.ones((1, 3))}, "token_type_ids has shape"),
    ],
)
def test_what_is_wrong_is_said(inputs: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem.replace("(", r"\(")):
        request(inputs, NAMES, 10)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators keep less")
def test_what_a_large_call_needed_is_given_back() -> None:
    def call(inputs: list[np.ndarray]) -> list[np.ndarray]:
        needed = [np.ones(100_000, np.uint8) for _ in inputs[0]]  # each too small to be mapped by itself
        return [needed[-1][: inputs[0].size, None]]  # it lies behind all others

    about = {"longest": 4096, "most_tokens": 4096, "first_position": 0}
    names = ("input_ids", "positions", "starts")
    spec = {"texts": about, "inputs": [{"name": name} for name in names]}
    texts = Texts({**spec, "outputs": [{"name": "states", "shape": ["tokens", 1]}]}, call)
    before = resident_bytes()
    states = texts.run({"input_ids": [[1] * 1000]})["states"]
    texts.run({"input_ids": [[1]]})  # comes after whatever the first one left to do
    assert resident_bytes() - before < 50e6
    assert len(states[0]) == 1000
