"""Row-wise kernels are computed row by row, rightly, and each exponential once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm
from tvm import te, topi

from tests.support import cpus
from tests.support.tuning import local_target, product
from tuner.graph.operators import layer_norm_rows, softmax_last_axis
from tuner.kernels import rowwise
from tuner.kernels.context import make_target
from tuner.search.session import SearchSession


def kernel(*tensors: Any) -> Any:
    return tvm.IRModule({"main": te.create_prim_func([*tensors]).with_attr("global_symbol", "main")})


def softmax(*shape: int) -> Any:
    x = te.placeholder(shape, name="x")
    return kernel(x, softmax_last_axis(x))


def layer_norm(count: int, columns: int) -> Any:
    x, gamma, beta = (te.placeholder(shape, name=name) for name, shape in
                      (("x", (count, columns)), ("gamma", (columns,)), ("beta", (columns,))))  # fmt: skip
    return kernel(x, gamma, beta, layer_norm_rows(x, gamma, beta, 1e-5))


def target() -> Any:
    return make_target(local_target())


def results(schedule: Any, *arguments: np.ndarray) -> np.ndarray:
    out = tvm.runtime.tensor(np.zeros(arguments[0].shape, "float32"))
    library = tvm.compile(schedule.mod, target())
    library["main"](*map(tvm.runtime.tensor, arguments), out)
    return out.numpy()


@pytest.mark.parametrize("shape", [(1, 2, 8, 128), (3, 24), (5, 20), (2, 40)])
def test_every_schedule_of_softmax_gives_softmax(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(0, 30, shape).astype("float32")
    wanted = np.exp(x - x.max(-1, keepdims=True))
    wanted /= wanted.sum(-1, keepdims=True)
    found = rowwise.schedules(softmax(*shape), target())
    assert found
    for schedule in found:
        np.testing.assert_allclose(results(schedule, x), wanted, rtol=1e-5, atol=1e-7)


def test_every_schedule_of_layer_norm_gives_layer_norm() -> None:
    rng = np.random.default_rng(0)
    x, gamma, beta = (rng.normal(2, 3, shape).astype("float32") for shape in ((6, 96), (96,), (96,)))
    wanted = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * gamma + beta
    found = rowwise.schedules(layer_norm(6, 96), target())
    assert found
    for schedule in found:
        np.testing.assert_allclose(results(schedule, x, gamma, beta), wanted, rtol=1e-4, atol=1e-4)


@cpus.each
def test_an_exponential_is_computed_once(cpu: dict[str, Any]) -> None:
    found = rowwise.schedules(softmax(4, 64), make_target(cpu))
    assert found
    for schedule in found:
        assert str(schedule.mod).count("T.reinterpret") == 1


@cpus.each
def test_a_row_is_done_within_one_parallel_loop(cpu: dict[str, Any]) -> None:
    found = rowwise.schedules(layer_norm(6, 96), make_target(cpu))
    assert found
    for schedule in found:
        assert str(schedule.mod).count("T.parallel") == 1
        assert len(schedule.get_child_blocks(schedule.get_sblock("root"))) > 3


@cpus.each
@pytest.mark.parametrize("mod", [product(8, 16, 32), softmax(4, 15), softmax(1, 64)], ids=["product", "odd", "one row"])
def test_what_is_not_row_wise_gets_none(mod: Any, cpu: dict[str, Any]) -> None:
    assert rowwise.schedules(mod, make_target(cpu)) == []


@cpus.each
def test_elementwise_kernel_is_not_row_wise(cpu: dict[str, Any]) -> None:
    x = te.placeholder((4, 64), name="x")
    assert rowwise.schedules(kernel(x, topi.nn.relu(x)), make_target(cpu)) == []


@cpus.each
def test_search_ends_with_the_schedules_of_rows(cpu: dict[str, Any]) -> None:
    """Each is proposed once, from records too."""
    mod = softmax(4, 128)
    found = search(mod, cpu)
    proposals = list(found.propose(16))
    assert len(proposals) == len(rowwise.schedules(mod, make_target(cpu)))
    assert list(found.propose(16)) == []
    again = search(mod, cpu)
    again.suggest([proposals[0].trace])
    (seed,) = again.propose(16)
    assert seed.id == proposals[0].id
    assert {p.id for p in again.propose(16)} == {p.id for p in proposals[1:]}


def search(mod: Any, cpu: dict[str, Any]) -> SearchSession:
    return SearchSession(str(tvm.ir.save_json(mod)), make_target(cpu), None, batch=16, threads=1, seed=1)
