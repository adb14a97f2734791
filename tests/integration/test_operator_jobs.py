"""Operators as imports: kernels that compute what PyTorch does, compiled as models are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import te
from tvm_ffi.serialization import from_json_graph_str

from tests.support.model_files import in_place
from tests.support.tiny_imports import compile_plainly, local_target
from tuner.apart import Limits
from tuner.bench.operator import operator_calls
from tuner.bench.spec import Spec, Variant
from tuner.compiler.module import base_manifest, write_manifest
from tuner.errors import InvalidInput, ModelInvalid, StageFailed
from tuner.importers import cache
from tuner.importers.comparison import compare
from tuner.importers.operators import allowed, apart, bounds, catalog, files, written
from tuner.importers.operators.importer import load_operator
from tuner.jobs import making
from tuner.jobs.making import Module
from tuner.kernels import products
from tuner.kernels.workload import extract, layout_free
from tuner.schemas import OperatorIn

SOURCE = """
from tvm import te, topi

def scaled(m, n):
    a, b = te.placeholder((m, n), name="a"), te.placeholder((n,), name="b")
    return [a, b, te.compute((m, n), lambda i, j: a[i, j] * b[j] + 1.0, name="out")]

def halves(n):
    import torch  # a file may use what it likes
    a = te.placeholder((n,), str(torch.float16).removeprefix("torch."), name="a")
    return [a, te.compute((n,), lambda i: a[i], name="out")]

def _one(n, index):
    a = te.placeholder((n,), name="a")
    return [a, te.compute((n,), lambda i: a[index(a, i)], name="out")]

def beyond(n):
    return _one(n, lambda a, i: i + 1)

def before(n):
    return _one(n, lambda a, i: i - 1)

def looked_up(n):
    return _one(n, lambda a, i: a[i].astype("int32"))

def wraps(n):
    return _one(n, lambda a, i: te.max(te.min(i * 1073741827, 7), 0))

def endless(n):
    a, r = te.placeholder((n,), name="a"), te.reduce_axis((0, 10**12), name="r")
    return [a, te.compute((n,), lambda i: te.sum(a[i], axis=r), name="out")]

def huge(n):
    a = te.placeholder((n,), name="a")
    middle = te.compute((n, 2**20, 2**10), lambda i, j, k: a[i], name="middle")
    return [a, te.compute((n,), lambda i: middle[i, 0, 0], name="out")]

def padded(n):
    a = te.placeholder((n, n), name="a")
    return [a, topi.nn.pad(a, [1, 1], [1, 1])]

def joined(n):
    a, b = te.placeholder((n, n), name="a"), te.placeholder((1, n), name="b")
    return [a, b, topi.concatenate([a, b], 0)]

def softmax(n):
    a = te.placeholder((n, n), name="a")
    return [a, topi.nn.softmax(a, axis=1)]

def convolved(n):
    x, w = te.placeholder((1, 2, n, n), name="x"), te.placeholder((4, 2, 3, 3), name="w")
    return [x, w, topi.nn.conv2d_nchw(x, w, 1, 1, 1)]

def broken(n):
    raise ValueError("not today")
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    return path


@pytest.mark.parametrize("name", ["op:gemm:16,64,24", "op:swish_gemm:16,64,24", "op:batch_gemm:2,8,16,12"])
def test_a_compiled_operator_computes_what_pytorch_does(name: str, tmp_path: Path) -> None:
    imported = cache.import_source(in_place(name), cache.Shape(1, 1), tmp_path / "imports")
    mod = cache.load_module(tmp_path / "imports", imported)
    (workload,) = extract(mod, tvm.target.Target(local_target()))
    assert (workload.weight, workload.tunable) == (1, True)
    assert products.find_product(workload.mod) is not None
    assert layout_free(workload.mod["main"]) == (set() if "batch" in name else {1})
    runner = compile_plainly(tmp_path / "imports", imported, 1, 1, tmp_path / "out")
    for sample in cache.load_samples(tmp_path / "imports", imported):
        assert compare(runner.run(**sample.inputs), sample.outputs).ok
    assert imported.against == "PyTorch, float32"


@pytest.mark.parametrize(("stride", "padding"), [(1, 1), (2, 0)])
def test_a_convolution_computes_what_pytorch_and_its_definition_do(stride: int, padding: int, tmp_path: Path) -> None:
    name = f"op:conv2d:2,3,8,6,4,3,{stride},{padding}"
    imported = cache.import_source(in_place(name), cache.Shape(1, 1), tmp_path / "imports")
    (workload,) = extract(cache.load_module(tmp_path / "imports", imported), tvm.target.Target(local_target()))
    assert (workload.tunable, workload.flops) == (True, catalog.parse(name).flops)
    assert layout_free(workload.mod["main"]) == {1}
    runner = compile_plainly(tmp_path / "imports", imported, 1, 1, tmp_path / "out")
    filters = load_operator(in_place(name)).constants[1]
    for sample in cache.load_samples(tmp_path / "imports", imported):
        assert compare(runner.run(**sample.inputs), sample.outputs).ok
        np.testing.assert_allclose(
            sample.outputs["out"], _convolved(sample.inputs["x"], filters, stride, padding), 1e-4, 1e-5
        )


def _convolved(x: np.ndarray, filters: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """A convolution by its definition."""
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, filters.shape[2:], axis=(2, 3))
    return np.einsum("nchwij,fcij->nfhw", windows[:, :, ::stride, ::stride], filters)


def test_a_function_of_ones_own_is_compiled_and_verified_in_processes_of_its_own(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = written.from_file(source, "scaled", [4, 8], [1])
    path = files.write(tmp_path / "operators", operator)
    imported = cache.import_source(in_place(str(path)), cache.Shape(1, 1), tmp_path / "imports")
    assert ([t.name for t in imported.inputs], "unscheduled" in imported.against) == (["a"], True)
    target = local_target()
    module = Module(tmp_path / "imports", imported, tmp_path / "out", is_foreign=True)
    write_manifest(module.folder, base_manifest(imported, 1, 1, target, module.compile(target, {})))
    assert module.verify("it")["against"] == imported.against
    for limit in ("_MEMORY_BYTES", "_TIMES_PARAMS"):
        monkeypatch.setattr(making, limit, 0)
    with pytest.raises(StageFailed, match="could not be made or run: "):
        module.verify("it")
    assert replace(module, is_foreign=False).verify("it")["max_rel_error"] < 1e-3


@pytest.mark.parametrize(("function", "says"), [("broken", "not today"), ("absent", "no function absent")])
def test_a_function_that_fails_is_named_with_its_reason(source: Path, function: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        written.from_file(source, function, [4], [])


def test_what_can_not_be_tuned_is_refused_at_import(source: Path, tmp_path: Path) -> None:
    operator = written.from_file(source, "halves", [4], [])
    for wrong, says in (
        (operator, "computes in float16"),
        (operator.model_copy(update={"tir": '{"nodes": []}'}), "no graph"),
        (OperatorIn(name="list", tir=str(tvm.ir.save_json(tvm.ir.Range(0, 1)))), "no function"),
    ):
        with pytest.raises(ModelInvalid, match=says):
            files.write(tmp_path / "operators", wrong)
    path = files.write(tmp_path / "operators", written.from_file(source, "scaled", [4, 8], [0, 1]))
    with pytest.raises(ModelInvalid, match="constants"):
        cache.import_source(in_place(str(path)), cache.Shape(1, 1), tmp_path / "imports")


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("beyond", "out of its bounds"),
        ("before", "out of its bounds"),
        ("endless", "steps"),
        ("huge", "MiB"),
        ("wraps", "overflow"),
        ("looked_up", "out of its bounds"),
    ],
)
def test_what_could_leave_its_tensors_or_never_end_is_refused_before_it_runs(function: str, says: str) -> None:
    with pytest.raises(ModelInvalid, match=says):
        bounds.check(function, _received(function))


@pytest.mark.parametrize("function", ["padded", "joined", "softmax", "convolved"])
def test_what_guards_its_indices_is_taken(function: str) -> None:
    bounds.check(function, _received(function))


def _received(function: str) -> Any:
    """A function of ``SOURCE``, as it comes through the list of what is allowed."""
    functions: dict[str, Any] = {}
    exec(SOURCE, functions)
    sent = str(tvm.ir.save_json(te.create_prim_func(functions[function](8))))
    return from_json_graph_str(allowed.checked(function, sent))


@pytest.mark.parametrize(("limits", "what"), [(Limits(60.0, 0), "0 MiB of memory"), (Limits(0.01, 2**32), "0.01 s")])
def test_an_import_that_takes_too_much_is_ended_and_refused(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: Limits, what: str
) -> None:
    path = files.write(tmp_path / "operators", written.from_file(source, "scaled", [512, 512], []))
    monkeypatch.setattr(apart, "LIMITS", limits)
    with pytest.raises(ModelInvalid, match=f"can't be imported: the process .* more than {what}"):
        cache.import_source(in_place(str(path)), cache.Shape(1, 1), tmp_path / "imports")


def test_contestants_of_an_operator_compute_the_same(tmp_path: Path) -> None:
    name = "op:swish_gemm:16,64,24"
    imported = cache.import_source(in_place(name), cache.Shape(1, 1), tmp_path / "imports")
    compile_plainly(tmp_path / "imports", imported, 1, 1, tmp_path / "out")
    variants = [
        Variant(name="torch-eager", kind="torch-eager"),
        Variant(name="product", kind="torch-product"),
        Variant(name="untuned", kind="tvm", path=str(tmp_path / "out")),
    ]
    calls = operator_calls(
        Spec(source=in_place(name).source, folder=None, batch=1, seq_len=1, threads=1, variants=variants),
        in_place(name),
    )
    np.testing.assert_allclose(calls["untuned"]().numpy(), calls["torch-eager"]().numpy(), rtol=1e-4, atol=1e-5)
    foreign = Spec(
        source=in_place(name).source,
        folder=None,
        batch=1,
        seq_len=1,
        threads=1,
        variants=[Variant(name="x", kind="torch-sdpa")],
    )
    with pytest.raises(InvalidInput, match="torch-sdpa"):
        operator_calls(foreign, in_place(name))
