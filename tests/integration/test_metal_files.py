"""Programs of torch.export and ONNX graphs for an Apple GPU: compiled, and run whole without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from tests.support import msl
from tests.support.metal import run_model
from tuner.config import Settings
from tuner.importers import cache
from tuner.importers.programs.loading import save_module
from tuner.importers.source import resolve_source
from tuner.jobs.standalone import Order, compile_model
from tuner.targets import presets

pytestmark = pytest.mark.skipif(msl.missing_compiler() is not None, reason=str(msl.missing_compiler()))


class Attending(nn.Module):
    """A layer as encoders have it: projections, attention with a bias of each pair of tokens, a norm, GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.project, self.out = nn.Linear(16, 48), nn.Linear(16, 16)
        self.norm = nn.LayerNorm(16)
        self.bias = nn.Parameter(torch.zeros(1, 2, 6, 6))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        query, key, value = (part.reshape(1, 6, 2, 8).transpose(1, 2) for part in self.project(hidden).chunk(3, dim=-1))
        found = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=self.bias)
        return nn.functional.gelu(self.norm(hidden + self.out(found.transpose(1, 2).reshape(1, 6, 16))))


def program(folder: Path) -> Path:
    module = Attending().eval()
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) / 2)
    return save_module(module, [torch.ones(1, 6, 16)], folder / "layer.pt2")


def graph(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    weights = {"first": rng.standard_normal((8, 16), np.float32), "second": rng.standard_normal((16, 3), np.float32)}
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "second"], ["s"]),
        helper.make_node("Softmax", ["s"], ["y"], axis=-1),
    ]
    shapes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [5, n]) for name, n in (("x", 8), ("y", 3))]
    held = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    made = helper.make_graph(nodes, "graph", shapes[:1], shapes[1:], held)
    file = folder / "net.onnx"
    onnx.save_model(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)
    return file


@pytest.mark.parametrize("write", [program, graph])
def test_a_file_of_no_encoder_is_compiled_for_an_apple_gpu_and_computes_what_its_own_runtime_does(
    write: Any, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    order = Order(resolve_source(str(write(tmp_path))), presets.resolve("m1-metal", "local"), 1, 16)
    manifest = compile_model(settings, order, tmp_path / "model.tar", lambda _: None)
    assert (manifest["load_check"], manifest["library"]) == ("symbols", "lib.dylib")
    assert set(manifest["places"]["launches"]) == {"metal"}
    (folder,) = (one.parent for one in settings.imports_dir.glob("*/module.json"))
    imported = cache.find(settings.imports_dir, folder.name)
    assert imported is not None
    if write is program:
        assert [one["kernel"] for one in manifest["schedules"]].count("attention") == 1
    prepared = cache.load_prepared(settings.imports_dir, imported)
    sample = cache.load_samples(settings.imports_dir, imported)[0]
    got = run_model(prepared, [sample.inputs[one.name] for one in imported.inputs])
    for value, wanted in zip(got, sample.outputs.values(), strict=True):
        np.testing.assert_allclose(value, wanted, atol=1e-5)
