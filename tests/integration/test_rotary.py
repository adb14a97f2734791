"""Rotary positions: a kernel each for queries and keys, which reads the projection where it lies."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.support.running import computed
from tuner.graph.pipeline import kernels_of
from tuner.importers.programs.lowering import lower_program
from tuner.kernels.workload import plain_name

BATCH, SEQ, HEADS, DIM = 2, 6, 3, 16
WIDTH = HEADS * DIM


class Rotary(nn.Module):
    """Attention whose queries and keys are turned by their positions."""

    def __init__(self, turns_back: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.parts = nn.ModuleList(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))
        angles = torch.arange(SEQ)[:, None] * 100.0 ** (-torch.arange(DIM // 2) / DIM)
        both = torch.cat([angles, angles], -1)[None, None]
        self.register_buffer("cos", both.cos())
        self.register_buffer("sin", both.sin())
        self.turns_back = turns_back

    def turned(self, x: torch.Tensor) -> torch.Tensor:
        first, second = x[..., : DIM // 2], x[..., DIM // 2 :]
        other = torch.cat([second, -first] if self.turns_back else [-second, first], -1)
        return x * self.cos + other * self.sin

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        query, key, value = (part(hidden).view(BATCH, SEQ, HEADS, DIM).transpose(1, 2) for part in self.parts)
        return functional.scaled_dot_product_attention(self.turned(query), self.turned(key), value)


@pytest.mark.parametrize(("turns_back", "is_folded"), [(False, True), (True, False)])
def test_a_rotation_is_one_kernel_that_reads_the_projection_as_it_is(turns_back: bool, is_folded: bool) -> None:
    module = Rotary(turns_back).eval()
    prepared = lower_program("rotary", torch.export.export(module, (torch.ones(BATCH, SEQ, WIDTH),)), "llvm")
    names = [plain_name(name) for name in kernels_of(prepared.mod)]
    assert ("rotated" in names) == is_folded
    assert not (is_folded and "split" in names)
    hidden = np.random.default_rng(0).standard_normal((BATCH, SEQ, WIDTH), np.float32)
    with torch.inference_mode():
        wanted = module(torch.from_numpy(hidden)).numpy()
    np.testing.assert_allclose(computed(prepared, hidden)[0], wanted, rtol=1e-4, atol=1e-5)
