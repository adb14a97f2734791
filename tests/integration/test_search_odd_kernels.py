"""Kernels that some part of the search, or a ready-made schedule, can't take: the rest goes on without it."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import te, topi

from tests.support import cpus, msl
from tests.support.metal import TARGET, Kernel
from tuner.kernels.context import make_target
from tuner.kernels.defaults import default_schedule
from tuner.search.costmodel import make_cost_model
from tuner.search.session import SearchSession

_ROWS, _DEPTH, _COLUMNS = 32, 32, 64


def _product(follower: Any) -> Any:
    """A product with something after it."""
    a, b = te.placeholder((_ROWS, _DEPTH), name="a"), te.placeholder((_DEPTH, _COLUMNS), name="b")
    k = te.reduce_axis((0, _DEPTH), "k")
    total = te.compute((_ROWS, _COLUMNS), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="product")
    func = te.create_prim_func([a, b, follower(total)]).with_attr("layout_free_buffers", [1])
    return tvm.IRModule({"main": func.with_attr({"global_symbol": "main", "tirx.noalias": True})})


def _gated(c: Any) -> Any:
    """A gated linear unit: it reads both halves of the columns."""
    return te.compute((_ROWS, 32), lambda i, j: c[i, j] * te.sigmoid(c[i, j + 32]), name="glu")


def _search(mod: Any, cpu: dict[str, Any]) -> SearchSession:
    tir = str(tvm.ir.save_json(mod))
    return SearchSession(tir, make_target(cpu), make_cost_model(1), batch=4, threads=1, seed=1)


def _overlapping(c: Any) -> Any:
    """It reads two parts of the columns that are no halves of them."""
    return te.compute((_ROWS, 32), lambda i, j: c[i, j] * te.sigmoid(c[i, j + 24]), name="overlapping")


@pytest.mark.usefixtures("few_at_once")
@cpus.each
@pytest.mark.parametrize(
    "follower",
    [
        pytest.param(lambda c: topi.nn.pad(c, [1, 1], [1, 1]), id="padded"),
        pytest.param(lambda c: te.compute((2, *c.shape), lambda n, i, j: c[i, j] * 2.0, name="twice"), id="broadcast"),
        pytest.param(
            lambda c: te.compute((_ROWS, 32), lambda i, j: c[i, 2 * j] + c[i, 2 * j + 1], name="o"), id="pairs"
        ),
    ],
)
def test_product_whose_tiles_can_not_take_what_follows_is_searched_by_sketches(
    follower: Any, cpu: dict[str, Any]
) -> None:
    session = _search(_product(follower), cpu)
    assert session.is_product
    found = list(session.propose(4))
    assert len(found) == 4
    assert all(proposal.evolved for proposal in found)


@cpus.each
def test_kernel_at_whose_sketches_tvm_fails_has_nothing_to_try(
    cpu: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    session = _search(_product(_overlapping), cpu)
    with caplog.at_level(logging.WARNING):
        assert list(session.propose(4)) == []
    assert "has no sketches" in caplog.text


def _gram() -> Any:
    """A matrix times itself, transposed."""
    a, k = te.placeholder((_ROWS, _DEPTH), name="a"), te.reduce_axis((0, _DEPTH), "k")
    c = te.compute((_ROWS, _ROWS), lambda i, j: te.sum(a[i, k] * a[j, k], axis=k), name="c")
    return tvm.IRModule({"main": te.create_prim_func([a, c])})


def _shifted() -> Any:
    """A product whose rows are read further down for the columns to the right."""
    x, w = te.placeholder((_ROWS + 2, 16), name="x"), te.placeholder((16, _COLUMNS), name="w")
    k = te.reduce_axis((0, 16), "k")
    c = te.compute((_ROWS, _COLUMNS), lambda i, j: te.sum(x[i + j // 32, k] * w[k, j], axis=k), name="c")
    return tvm.IRModule({"main": te.create_prim_func([x, w, c])})


@pytest.mark.skipif(msl.missing_compiler() is not None, reason=str(msl.missing_compiler()))
@pytest.mark.parametrize("mod", [_product(_gated), _gram(), _shifted()], ids=["gated", "gram", "shifted"])
def test_kernel_at_which_one_of_dlights_rules_fails_is_scheduled_by_the_next(mod: Any) -> None:
    kernel = Kernel("odd", mod)
    inputs = kernel.arguments()
    scheduled = tvm.IRModule({"main": default_schedule(mod["main"], TARGET)})
    result = msl.run(scheduled, TARGET, inputs)[-1]
    np.testing.assert_allclose(result, kernel.expected(inputs), rtol=1e-4, atol=1e-4)
