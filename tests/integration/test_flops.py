"""Operations of kernels, counted by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tvm import te, tirx, topi

from tuner.graph import operators as kernels
from tuner.importers.operators import expressions
from tuner.kernels.flops import _times, flops_of
from tuner.lengths import NOMINAL

ROWS, WIDTH = 4, 8
SIZE = ROWS * WIDTH


def elementwise(body: Callable[[Any], Any]) -> float:
    """Operations of ``body`` on each element of a matrix."""
    x = te.placeholder((ROWS, WIDTH), name="x")
    return flops_of(te.create_prim_func([x, te.compute((ROWS, WIDTH), lambda i, j: body(x[i, j]))]))


def test_a_product_takes_two_for_each_pair() -> None:
    assert flops_of(te.create_prim_func(expressions.gemm(16, 24, 32))) == 2 * 16 * 24 * 32


@pytest.mark.parametrize(
    ("body", "operations"),
    [
        (lambda x: (x * x) * (x * x) + x * x, 3),  # the square is made once
        (lambda x: tirx.exp(x) + tirx.max(x, tirx.const(0.0, "float32")), 3),
        (lambda x: tirx.Select(x > tirx.const(0.0, "float32"), x + x, x * x), 2),
        (lambda x: tirx.if_then_else(x > tirx.const(0.0, "float32"), x + x, x * x), 2),
        (lambda x: x, 0),
    ],
)
def test_what_is_equal_is_counted_once(body: Callable[[Any], Any], operations: int) -> None:
    assert elementwise(body) == operations * SIZE


def test_a_layer_norm() -> None:
    x, gamma, beta = te.placeholder((ROWS, WIDTH)), te.placeholder((WIDTH,)), te.placeholder((WIDTH,))
    found = flops_of(te.create_prim_func([x, gamma, beta, kernels.layer_norm_rows(x, gamma, beta, 1e-12)]))
    assert found == 8 * SIZE + 4 * ROWS


def test_a_softmax_takes_its_exponential_once() -> None:
    x = te.placeholder((ROWS, WIDTH), name="x")
    exponential = flops_of(te.create_prim_func([x, topi.fast_exp(x)]))
    assert 15 * SIZE < exponential < 30 * SIZE  # a polynomial of degree five with the reduction of its argument
    assert flops_of(te.create_prim_func([x, kernels.softmax_last_axis(x)])) == exponential + 4 * SIZE


def test_loops_that_only_the_texts_end_run_as_often_as_a_text_has_tokens() -> None:
    texts, rows = tirx.Var("texts", "int64"), tirx.Var("rows", "int64")
    assert _times(tirx.IntImm("int64", 3), {}) == 3
    assert _times(texts * 6, {"texts": 2}) == 12
    assert _times(rows, {"texts": 2}) == NOMINAL
    assert _times(tirx.min(rows, tirx.IntImm("int64", 1)), {}) == 1
