"""Gated MLPs: one kernel computes both halves and the gate, and what is no gate stays what it is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import tvm
from torch import nn
from torch.nn import functional

from tests.support.running import computed
from tests.support.tiny_imports import local_target
from tuner.graph.pipeline import Prepared, kernels_of
from tuner.importers.programs.lowering import lower_program
from tuner.kernels import row_products, written
from tuner.kernels.context import make_target
from tuner.kernels.workload import plain_name

BATCH, SEQ, WIDTH, WIDE = 2, 6, 24, 40
Activation = Callable[[torch.Tensor], torch.Tensor]


class Gated(nn.Module):
    """An MLP whose halves are two layers, or one that is taken apart."""

    def __init__(self, activation: Activation, layers: int, bias: bool, is_first: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.activation, self.gate = activation, 0 if is_first else 1
        self.wide = nn.ModuleList(nn.Linear(WIDTH, 2 * WIDE // layers, bias) for _ in range(layers))
        self.down = nn.Linear(WIDE, WIDTH, bias)

    def halves(self, hidden: torch.Tensor) -> list[torch.Tensor]:
        found = [layer(hidden) for layer in self.wide]
        return found if len(found) == 2 else list(found[0].chunk(2, dim=-1))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        halves = self.halves(hidden)
        return self.down(self.activation(halves[self.gate]) * halves[1 - self.gate])


class Shown(Gated):
    """One that also gives what its gate lets through."""

    def forward(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        one, other = self.halves(hidden)
        return self.down(self.activation(one) * other), other + 1.0


class Summed(Gated):
    """One that adds its halves."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        one, other = self.halves(hidden)
        return self.down(self.activation(one) + other)


class Uneven(Gated):
    """One whose gate is a single column."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        one, other = self.wide[0](hidden).split([1, 2 * WIDE - 1], dim=-1)
        return self.down((self.activation(one) * other)[..., :WIDE])


def lowered(module: nn.Module, kind: str = "llvm") -> Prepared:
    program = torch.export.export(module.eval(), (torch.ones(BATCH, SEQ, WIDTH),))
    return lower_program("gated", program, kind)


def names_of(prepared: Prepared) -> list[str]:
    return sorted(plain_name(name) for name in kernels_of(prepared.mod))


@pytest.mark.parametrize(
    ("activation", "layers", "bias", "is_first", "name"),
    [
        (functional.silu, 2, False, True, "matmul_silu_gate"),
        (functional.gelu, 1, False, True, "matmul_gelu_gate"),
        (functional.gelu, 1, True, False, "matmul_add_gelu_gate"),
        (torch.sigmoid, 2, True, False, "matmul_add_sigmoid_gate"),
    ],
)
def test_a_gate_is_part_of_the_product_that_makes_its_halves(
    activation: Activation, layers: int, bias: bool, is_first: bool, name: str
) -> None:
    module = Gated(activation, layers, bias, is_first)
    prepared = lowered(module)
    assert names_of(prepared) == sorted([name, "matmul_add" if bias else "matmul"])
    (kernel,) = [one for other, one in kernels_of(prepared.mod).items() if "gate" in other]
    mod, target = tvm.IRModule({"main": kernel}), make_target(local_target())
    found = row_products.find(mod)
    assert found is not None
    assert (found.columns, found.out_columns, found.parts) == (2 * WIDE, WIDE, 2)
    assert written.writer_for(mod, target) is not None
    hidden = 3.0 * np.random.default_rng(0).standard_normal((BATCH, SEQ, WIDTH), np.float32)
    with torch.inference_mode():
        wanted = module(torch.from_numpy(hidden)).numpy()
    np.testing.assert_allclose(computed(prepared, hidden)[0], wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [Shown, Summed, Uneven])
def test_what_is_no_gate_or_is_wanted_by_others_too_stays_apart(kind: type[Gated]) -> None:
    module = kind(functional.silu, 1, False)
    prepared = lowered(module)
    assert not [name for name in names_of(prepared) if "gate" in name]
    hidden = np.random.default_rng(0).standard_normal((BATCH, SEQ, WIDTH), np.float32)
    with torch.inference_mode():
        wanted = module(torch.from_numpy(hidden))
    for got, one in zip(computed(prepared, hidden), wanted if isinstance(wanted, tuple) else [wanted], strict=True):
        np.testing.assert_allclose(got, one.numpy(), rtol=1e-5, atol=1e-5)


def test_a_gpu_has_the_gate_apart() -> None:
    assert not [name for name in names_of(lowered(Gated(functional.silu, 2, False), "metal")) if "gate" in name]
