"""A module of PyTorch that is no encoder: handed over, compiled as a job compiles it, and back in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import tunesmith
from rpc.facts import device_facts
from tuner.config import Settings
from tuner.importers.source import resolve_source
from tuner.jobs.standalone import Order, compile_model
from tuner.targets import presets
from tunesmith.handing_over import hand_over


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(8, 16), torch.nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.relu(self.first(x)))


@pytest.mark.parametrize("by_name", [False, True])
def test_a_module_comes_back_with_the_same_call(tmp_path: Path, by_name: bool) -> None:
    model, x = Net().eval(), torch.randn(3, 8)
    example: Any = {"x": x} if by_name else x
    handed = hand_over(model, tmp_path, example_inputs=example)
    order = Order(resolve_source(handed.model), presets.resolve("local", "local", device_facts()), 1, 128)
    compile_model(Settings(data_dir=tmp_path / "data"), order, tmp_path / "net.tar", lambda line: None)
    faster = handed.back(tunesmith.load(tmp_path / "net.tar").as_torch(handed.config))
    with torch.inference_mode():
        torch.testing.assert_close(faster(x), model(x), rtol=1e-4, atol=1e-5)
