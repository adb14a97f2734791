"""Programs of torch.export: from any module, and back from a file of which nothing is unpickled."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tuner.errors import FormatUnsupported, ModelInvalid
from tuner.importers.programs.loading import computed, inputs_of, load_program, output_names, save_module
from tuner.importers.programs.weights import program_weights
from tuner.importers.source import resolve_source

W = H = 10


def two_linear() -> nn.Module:
    return nn.Sequential(nn.Linear(W, H), nn.ReLU(), nn.Linear(H, W), nn.ReLU())


class Recommender(nn.Module):
    """Inputs of several kinds, by odd names: ids of two tables, numbers; a dictionary as its output."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(7, 4), nn.Embedding(11, 4)
        self.mix = nn.Linear(8 + 2, 3)

    def forward(self, user: torch.Tensor, items: torch.Tensor, self_: torch.Tensor) -> dict[str, torch.Tensor]:
        both = torch.cat([self.users(user), self.items(items.to(torch.int64)), self_], dim=-1)
        return {"scores": self.mix(both), "best": self.mix(both).sum(-1)}


def test_a_module_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    module = two_linear()
    file = save_module(module, [torch.ones(W, H)], tmp_path / "dnn.pt2")
    assert resolve_source(str(file)).source == "file"
    assert module.training, "it is left as it was"
    program = load_program(file, 1, 128)
    value = np.random.default_rng(0).standard_normal((W, H)).astype(np.float32)
    (name,) = [one.name for one in inputs_of(program)]
    np.testing.assert_allclose(
        computed(program, {name: value})["output"], module(torch.from_numpy(value)).detach().numpy(), atol=1e-6
    )
    for name, weight in program_weights(file).items():
        np.testing.assert_array_equal(weight, module.state_dict()[name].numpy())


def test_inputs_and_outputs_keep_their_names_and_what_they_can_mean(tmp_path: Path) -> None:
    example = [torch.zeros(4, dtype=torch.int64), torch.zeros(4, dtype=torch.int32)]
    named = {"self_": torch.ones(4, 2)}
    program = load_program(save_module(Recommender(), example, tmp_path / "rec.pt2", named), 1, 128)
    found = [(one.name, one.shape, one.dtype, one.below) for one in inputs_of(program)]
    assert found == [
        ("user", (4,), torch.int64, 7),
        ("items", (4,), torch.int32, 11),
        ("self_", (4, 2), torch.float32, None),
    ]
    assert output_names(program) == ("scores", "best")


def test_open_extents_become_batch_and_length(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Embedding(20, 8), nn.Linear(8, 3))
    dims = ({0: torch.export.Dim("batch", max=64), 1: torch.export.Dim("length", max=512)},)
    program = torch.export.export(module.eval(), (torch.zeros(2, 5, dtype=torch.int64),), dynamic_shapes=dims)
    torch.export.save(program, tmp_path / "open.pt2")
    (one,) = inputs_of(load_program(tmp_path / "open.pt2", 3, 9))
    assert (one.shape, one.below) == ((3, 9), 20)


def test_an_extent_that_means_neither_is_refused_by_its_input(tmp_path: Path) -> None:
    dims = ({2: torch.export.Dim("width", max=64)},)
    program = torch.export.export(nn.ReLU(), (torch.zeros(2, 5, 6),), dynamic_shapes=dims)
    torch.export.save(program, tmp_path / "open.pt2")
    with pytest.raises(ModelInvalid, match="leaves extent 2 of"):
        load_program(tmp_path / "open.pt2", 3, 9)


def test_weights_that_lie_transposed_or_within_others_are_read_as_they_are(tmp_path: Path) -> None:
    module = nn.Linear(3, 2)
    whole = torch.arange(12, dtype=torch.float32).reshape(4, 3)
    module.weight = nn.Parameter(whole[1:3])
    module.bias = nn.Parameter(torch.arange(4.0)[1:3])
    other = nn.Linear(2, 3, bias=False)
    other.weight = nn.Parameter(torch.arange(6.0).reshape(2, 3).T)
    file = save_module(nn.Sequential(module, other), [torch.ones(1, 3)], tmp_path / "views.pt2")
    found = program_weights(file)
    np.testing.assert_array_equal(found["0.weight"], whole[1:3].numpy())
    np.testing.assert_array_equal(found["1.weight"], np.arange(6.0).reshape(2, 3).T)


def test_what_cannot_be_exported_says_so(tmp_path: Path) -> None:
    class ByValue(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1 if x.sum() > 0 else x - 1

    with pytest.raises(ModelInvalid, match="ByValue can't be exported"):
        save_module(ByValue(), [torch.ones(2)], tmp_path / "model.pt2")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_another_precision_is_refused_by_the_name_of_what_has_it(tmp_path: Path, dtype: torch.dtype) -> None:
    file = save_module(nn.Linear(4, 4).to(dtype), [torch.ones(2, 4, dtype=dtype)], tmp_path / "other.pt2")
    with pytest.raises(ModelInvalid, match=f"weight in {str(dtype).removeprefix('torch.')}") as refused:
        load_program(file, 1, 1)
    assert "module.float()" in refused.value.hint


class Bomb:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("exploded"),))


def test_nothing_of_a_program_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = save_module(two_linear(), [torch.ones(W, H)], tmp_path / "dnn.pt2")
    with zipfile.ZipFile(file) as whole, zipfile.ZipFile(tmp_path / "bomb.pt2", "w") as made:
        for name in whole.namelist():
            made.writestr(name, pickle.dumps(Bomb()) if "sample_inputs" in name else whole.read(name))
    with pytest.raises(ModelInvalid):
        load_program(tmp_path / "bomb.pt2", 1, 1)
    assert not (tmp_path / "exploded").exists()


def test_torchscript_is_told_how_it_becomes_a_program(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated
        torch.jit.save(torch.jit.trace(two_linear(), torch.ones(W, H)), str(tmp_path / "model.pt"))
    with pytest.raises(FormatUnsupported, match="TorchScript"):
        resolve_source(str(tmp_path / "model.pt"))


@pytest.mark.parametrize("what", ["module", "weights"])
def test_what_torch_save_writes_is_refused_as_the_pickle_it_is(tmp_path: Path, what: str) -> None:
    module = two_linear()
    torch.save(module if what == "module" else module.state_dict(), tmp_path / "model.pth")
    with pytest.raises(FormatUnsupported, match="pickle"):
        resolve_source(str(tmp_path / "model.pth"))
