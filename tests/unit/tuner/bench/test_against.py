"""Rivals by the names people give them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuner.bench.against import KNOWN, rivals
from tuner.errors import InvalidInput


def test_each_is_one_contestant_however_often_it_is_named() -> None:
    found = rivals(["onnxruntime", "torch", "torch-bf16", "onnxruntime"])
    assert [(one.name, one.kind, one.precision) for one in found] == [
        ("onnxruntime", "onnxruntime", "fp32"),
        ("torch-bf16", "torch-bf16", "bf16"),
    ]


def test_a_file_goes_by_its_name_and_may_fail() -> None:
    (one,) = rivals(["/somewhere/mine.onnx"])
    entry = one.variant(Path("/somewhere/mine.onnx"))
    assert (entry.name, entry.kind, entry.path, entry.optional) == (
        "mine.onnx",
        "onnx-file",
        "/somewhere/mine.onnx",
        True,
    )


@pytest.mark.parametrize("name", ["tensorrt", "onnx", "model.pt2", ""])
def test_what_is_none_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        rivals([name])
    assert all(known in refused.value.hint for known in KNOWN)
