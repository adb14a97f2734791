"""Models of any kind: programs of torch.export and ONNX graphs, down to what the compiled module computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from rpc.facts import device_facts
from tuner.artifact.loader import ArtifactError, Runner, load
from tuner.bench.baselines import baselines
from tuner.bench.contestant import contestants
from tuner.bench.field import Field
from tuner.bench.program import enter_program
from tuner.bench.spec import Spec, Variant
from tuner.config import Settings
from tuner.db.models import Model
from tuner.errors import InvalidInput, ModelInvalid, OperatorsUnsupported, StageFailed
from tuner.importers import cache
from tuner.importers.cache import Shape
from tuner.importers.programs.loading import load_program, save_module
from tuner.importers.snapshot import borrowed
from tuner.importers.source import resolve_source
from tuner.jobs.standalone import Order, compile_model
from tuner.targets import presets

W = H = 10


def two_linear() -> nn.Module:
    return nn.Sequential(nn.Linear(W, H), nn.ReLU(), nn.Linear(H, W), nn.ReLU())


class Convolutions(nn.Module):
    """A small network for images: strided and grouped convolutions, batch norm, pooling, a residual, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.deep = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.wide = nn.Conv2d(8, 16, 1)
        self.head = nn.Linear(16, 5)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        hidden = self.stem(image)
        hidden = nn.functional.max_pool2d(nn.functional.silu(self.deep(hidden)) + hidden, 2)
        return self.head(self.wide(hidden).mean((2, 3)))


class Masked(nn.Module):
    """Attention that sees what a mask of yes and no lets it see, as the library's models have it."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(8, 24)
        self.register_buffer("first", torch.tensor([1, 0, 0, 0, 0]))  # which every text has

    def forward(self, hidden: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        parts = (part.reshape(2, 5, 2, 4).transpose(1, 2) for part in self.project(hidden).chunk(3, dim=-1))
        mask = (seen + self.first > 0)[:, None, None, :].expand(2, 1, 5, 5)
        return nn.functional.scaled_dot_product_attention(*parts, attn_mask=mask)


class Recommender(nn.Module):
    """Inputs of several kinds, by odd names: ids of two tables, a flag, numbers; a dictionary as its output."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(7, 4), nn.Embedding(11, 4)
        self.mix = nn.Linear(8 + 2, 3)

    def forward(self, user: torch.Tensor, items: torch.Tensor, self_: torch.Tensor) -> dict[str, torch.Tensor]:
        both = torch.cat([self.users(user), self.items(items.to(torch.int64)), self_], dim=-1)
        scores = self.mix(both)
        return {"scores": scores, "best": scores.sum(-1)}


def compiled(file: Path, folder: Path, batch: int = 1, seq_len: int = 128) -> tuple[Runner, dict[str, Any]]:
    target = presets.resolve("local", "local", device_facts())
    order = Order(resolve_source(str(file)), target, batch, seq_len)
    manifest = compile_model(Settings(data_dir=folder / "data"), order, folder / "model.tar", lambda _: None)
    return load(folder / "model.tar"), manifest


def seeded(module: nn.Module) -> nn.Module:
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) / 2)
        for name, buffer in module.named_buffers():
            if "running" in name:
                buffer.copy_(torch.rand_like(buffer) + 0.5)
    return module


def test_two_linear_layers_are_compiled_and_compute_what_eager_does(tmp_path: Path) -> None:
    module = seeded(two_linear())
    runner, manifest = compiled(save_module(module, [torch.ones(W, H)], tmp_path / "dnn.pt2"), tmp_path)
    assert [spec["shape"] for spec in manifest["inputs"]] == [[W, H]]
    assert manifest["verification"]["against"] == "PyTorch, float32"
    value = np.random.default_rng(5).standard_normal((W, H), np.float32)
    want = module(torch.from_numpy(value)).detach().numpy()
    np.testing.assert_allclose(runner.run(**{manifest["inputs"][0]["name"]: value})["output"], want, atol=1e-5)
    assert module.training, "it is left as it was"


def test_convolutions_are_compiled_and_compute_what_eager_does(tmp_path: Path) -> None:
    module = seeded(Convolutions())
    runner, _ = compiled(save_module(module, [torch.ones(2, 3, 16, 16)], tmp_path / "conv.pt2"), tmp_path)
    value = np.random.default_rng(5).standard_normal((2, 3, 16, 16), np.float32)
    want = module.eval()(torch.from_numpy(value)).detach().numpy()
    np.testing.assert_allclose(runner.run(image=value)["output"], want, atol=1e-4)


def test_attention_with_a_mask_of_yes_and_no_is_compiled(tmp_path: Path) -> None:
    module = seeded(Masked())
    seen = torch.tensor([[1, 1, 0, 0, 0], [1, 0, 1, 1, 1]])
    runner, _ = compiled(save_module(module, [torch.ones(2, 5, 8), seen], tmp_path / "masked.pt2"), tmp_path)
    value = np.random.default_rng(5).standard_normal((2, 5, 8), np.float32)
    want = module.eval()(torch.from_numpy(value), seen).detach().numpy()
    np.testing.assert_allclose(runner.run(hidden=value, seen=seen.numpy())["output"], want, atol=1e-5)


def test_inputs_are_taken_by_name_and_refused_by_name(tmp_path: Path) -> None:
    module = seeded(Recommender())
    example = [torch.zeros(4, dtype=torch.int64), torch.zeros(4, dtype=torch.int32), torch.ones(4, 2)]
    runner, manifest = compiled(save_module(module, example, tmp_path / "rec.pt2"), tmp_path)
    inputs = manifest["inputs"]
    assert [(one["name"], one["dtype"], one.get("below")) for one in inputs] == [
        ("user", "int64", 7),
        ("items", "int32", 11),
        ("self_", "float32", None),
    ]
    given = {
        "user": np.array([0, 6, 3, 1]),
        "items": np.array([10, 0, 2, 2], np.int32),
        "self_": np.random.default_rng(0).standard_normal((4, 2), np.float32),
    }
    want = module.eval()(*(torch.from_numpy(given[name]) for name in ("user", "items", "self_")))
    found = runner.run(**given)
    assert list(found) == ["scores", "best"]
    for name, value in found.items():
        np.testing.assert_allclose(value, want[name].detach().numpy(), atol=1e-5)
    for change, words in (
        ({"user": np.array([0, 7, 0, 0])}, "user holds 7"),
        ({"items": np.ones(4)}, "items are whole numbers"),
        ({"self_": np.ones((2, 4), np.float32)}, "self_ has shape"),
        ({"self_": np.ones((4, 2), complex)}, "self_ is float32"),
    ):
        with pytest.raises(ArtifactError, match=words):
            runner.run(**given | change)
    with pytest.raises(ArtifactError, match="inputs are user, items, self_; got items, user"):
        runner.run(user=given["user"], items=given["items"])


def test_open_extents_become_batch_and_length(tmp_path: Path) -> None:
    module = seeded(nn.Sequential(nn.Embedding(20, 8), nn.Linear(8, 3)))
    dims = ({0: torch.export.Dim("batch", max=64), 1: torch.export.Dim("length", max=512)},)
    program = torch.export.export(module.eval(), (torch.zeros(2, 5, dtype=torch.int64),), dynamic_shapes=dims)
    torch.export.save(program, tmp_path / "open.pt2")
    loaded = load_program(tmp_path / "open.pt2", 3, 9)
    runner, manifest = compiled(tmp_path / "open.pt2", tmp_path, 3, 9)
    (one,) = manifest["inputs"]
    assert one["shape"] == [3, 9]
    ids = np.random.default_rng(0).integers(0, 20, (3, 9))
    np.testing.assert_allclose(
        runner.run(**{one["name"]: ids})["output"], loaded.module()(torch.from_numpy(ids)).detach().numpy(), atol=1e-5
    )


def test_a_program_is_timed_beside_its_own_eager_run_and_nothing_else(tmp_path: Path) -> None:
    file = save_module(seeded(Convolutions()), [torch.ones(2, 3, 16, 16)], tmp_path / "conv.pt2")
    model = Model(name="conv", source="file", location=str(file), family="", head="", weights="pretrained")
    (eager,) = baselines(model)
    with torch.inference_mode(), borrowed(resolve_source(str(file)), tmp_path) as fetched, contestants() as start:
        about = {"source": fetched.source, "folder": fetched.folder, "batch": 1, "seq_len": 1, "threads": 1}

        def entered(*variants: Variant) -> Field:
            field = Field(Spec(**about, variants=list(variants)), start, tmp_path)
            enter_program(field, fetched)
            return field

        found = entered(eager, Variant(name="onnxruntime", kind="onnxruntime", optional=True))
        assert found.entrants.keys() == {"torch-eager"}
        assert found.errors == {"torch-eager": 0}
        assert "no encoder that is known" in found.absent["onnxruntime"]
        with pytest.raises(StageFailed, match="no encoder that is known"):
            entered(Variant(name="torch-sdpa", kind="torch-sdpa"))


class Unsupported(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.svdvals(x) + torch.special.bessel_j0(x).sum() + torch.fft.rfft(x).abs().sum()


def test_all_operators_that_are_not_taken_are_listed_at_once(tmp_path: Path) -> None:
    file = save_module(Unsupported(), [torch.ones(4, 4)], tmp_path / "odd.pt2")
    with pytest.raises(OperatorsUnsupported) as refused, borrowed(resolve_source(str(file)), tmp_path) as fetched:
        cache.import_source(fetched, Shape(), tmp_path)
    for operator in ("linalg_svd", "bessel_j0", "fft_r2c"):
        assert operator in refused.value.message


def test_a_program_has_no_texts_and_no_head(tmp_path: Path) -> None:
    file = save_module(two_linear(), [torch.ones(W, H)], tmp_path / "dnn.pt2")
    with borrowed(resolve_source(str(file)), tmp_path) as fetched, pytest.raises(InvalidInput, match="texts"):
        cache.import_source(fetched, Shape(texts=True), tmp_path)
    with borrowed(resolve_source(str(file), head="masked-lm"), tmp_path) as fetched:  # noqa: SIM117
        with pytest.raises(InvalidInput, match="head"):
            cache.import_source(fetched, Shape(), tmp_path)


def graph_file(path: Path, nodes: list[Any], shape: list[Any], **weights: np.ndarray) -> Path:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_an_onnx_graph_of_no_encoder_is_compiled_with_its_own_names(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kernel, weight = rng.standard_normal((4, 3, 3, 3), np.float32), rng.standard_normal((4, 2), np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "weight"], ["y"]),
    ]
    file = graph_file(tmp_path / "net.onnx", nodes, ["N", 3, 8, 8], kernel=kernel, weight=weight)
    runner, manifest = compiled(file, tmp_path, batch=2)
    assert [(one["name"], one["shape"]) for one in manifest["inputs"]] == [("x", [2, 3, 8, 8])]
    assert "ONNX" in manifest["verification"]["against"]
    value = rng.standard_normal((2, 3, 8, 8), np.float32)
    hidden = torch.relu(nn.functional.conv2d(torch.from_numpy(value), torch.from_numpy(kernel), padding=1)).mean((2, 3))
    np.testing.assert_allclose(runner.run(x=value)["y"], hidden.numpy() @ weight, atol=1e-5)


@pytest.mark.parametrize("kind", [TensorProto.DOUBLE, TensorProto.STRING])
def test_inputs_of_another_precision_are_refused_by_name(tmp_path: Path, kind: int) -> None:
    file = graph_file(tmp_path / "net.onnx", [helper.make_node("Relu", ["x"], ["y"])], [2, 3])
    model = onnx.load_model(file)
    model.graph.input[0].type.tensor_type.elem_type = kind
    onnx.save_model(model, file)
    with pytest.raises(ModelInvalid, match="takes x as"):  # noqa: SIM117
        with borrowed(resolve_source(str(file)), tmp_path) as fetched:
            cache.import_source(fetched, Shape(), tmp_path)


def test_operators_of_a_graph_that_are_not_taken_are_listed_at_once(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("STFT", ["x", "step"], ["s"]),
        helper.make_node("MelWeightMatrix", ["step"] * 5, ["m"]),
        helper.make_node("Relu", ["s"], ["y"]),
    ]
    file = graph_file(tmp_path / "net.onnx", nodes, [1, 8, 1], step=np.array(2))
    with pytest.raises(OperatorsUnsupported, match="MelWeightMatrix, STFT"):  # noqa: SIM117
        with borrowed(resolve_source(str(file)), tmp_path) as fetched:
            cache.import_source(fetched, Shape(), tmp_path)
