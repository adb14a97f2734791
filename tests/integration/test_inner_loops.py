"""Products of BERT, guessed for the M1, keep its multiply-adders busy: counted, as no Mac is here."""

from __future__ import annotations

import pytest

from benchmarks.inner_loops import busiest
from benchmarks.zero_kernels import GOAL, assembly
from tests.support.tuning import product
from tuner.kernels.context import make_target
from tuner.targets import presets
from tuner.targets.blas import without_blas
from tuner.targets.cores import core_of


@pytest.mark.parametrize(("depth", "columns"), [(768, 2304), (768, 768), (3072, 768)])
def test_products_of_bert_reach_most_of_an_m1_by_count(depth: int, columns: int) -> None:
    described = presets.resolve("m1-cpu", "local").tvm
    loop = busiest(assembly(product(128, depth, columns), make_target(without_blas(described))))
    assert loop is not None
    assert (loop.lanes, loop.spilled) == (4, 0)
    assert loop.sums >= 16
    assert loop.part_of_peak(core_of(described["mcpu"])) >= GOAL
