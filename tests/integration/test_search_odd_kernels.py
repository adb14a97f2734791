"""Kernels that some part of the search can't schedule: the rest goes on without it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import tvm
from tvm import te, topi

from tests.support.tiny_imports import local_target
from tuner.search.context import make_target
from tuner.search.costmodel import make_cost_model
from tuner.search.session import SearchSession

_ROWS, _DEPTH, _COLUMNS = 32, 32, 64


def _with(follower: Any) -> SearchSession:
    """The search of a product with something after it."""
    a, b = te.placeholder((_ROWS, _DEPTH), name="a"), te.placeholder((_DEPTH, _COLUMNS), name="b")
    k = te.reduce_axis((0, _DEPTH), "k")
    total = te.compute((_ROWS, _COLUMNS), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="product")
    func = te.create_prim_func([a, b, follower(total)]).with_attr("layout_free_buffers", [1])
    mod = tvm.IRModule({"main": func.with_attr({"global_symbol": "main", "tirx.noalias": True})})
    tir = str(tvm.ir.save_json(mod))
    return SearchSession(tir, make_target(local_target()), make_cost_model(1), batch=4, threads=1, seed=1)


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
def test_product_whose_tiles_can_not_take_what_follows_is_searched_by_sketches(follower: Any) -> None:
    session = _with(follower)
    assert session.is_product
    found = list(session.propose(4))
    assert len(found) == 4
    assert all(proposal.evolved for proposal in found)


def test_kernel_at_whose_sketches_tvm_fails_has_nothing_to_try(caplog: pytest.LogCaptureFixture) -> None:
    """A gated linear unit: the reader of both halves of a product's columns."""
    session = _with(lambda c: te.compute((_ROWS, 32), lambda i, j: c[i, j] * te.sigmoid(c[i, j + 32]), name="glu"))
    with caplog.at_level(logging.WARNING):
        assert list(session.propose(4)) == []
    assert "has no sketches" in caplog.text
