"""Who is told how to convert pickled weights gets the same weights."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tuner.uploads.names import CONVERT


def test_the_line_that_converts_pickled_weights_keeps_them_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tied = torch.arange(12.0).reshape(3, 4)
    weights = {"embeddings": tied, "decoder": tied, "turned": tied.T, "half": tied.to(torch.bfloat16)}
    torch.save(weights, tmp_path / "pytorch_model.bin")
    monkeypatch.chdir(tmp_path)
    python, option, line = shlex.split(CONVERT)
    assert (python, option) == ("python", "-c")
    exec(line, {})
    found = load_file(tmp_path / "model.safetensors")
    assert set(found) == set(weights)
    assert all(torch.equal(found[name], weights[name]) for name in weights)
    assert sorted(os.listdir(tmp_path)) == ["model.safetensors", "pytorch_model.bin"]
