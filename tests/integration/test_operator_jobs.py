"""Operators as imports: kernels that compute what PyTorch does, compiled as models are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tvm

from tests.support.model_files import in_place
from tests.support.tiny_imports import compile_plainly, local_target
from tuner.bench.operator import operator_calls
from tuner.bench.spec import Spec, Variant
from tuner.errors import InvalidInput, ModelInvalid
from tuner.importers import cache
from tuner.importers.comparison import compare
from tuner.importers.operators import files, written
from tuner.kernels import products
from tuner.kernels.workload import extract, layout_free
from tuner.schemas import OperatorIn

SOURCE = """
from tvm import te

def scaled(m, n):
    a, b = te.placeholder((m, n), name="a"), te.placeholder((n,), name="b")
    return [a, b, te.compute((m, n), lambda i, j: a[i, j] * b[j] + 1.0, name="out")]

def halves(n):
    a = te.placeholder((n,), "float16", name="a")
    return [a, te.compute((n,), lambda i: a[i], name="out")]

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


def test_a_function_of_ones_own_is_tuned_against_its_plain_build(source: Path, tmp_path: Path) -> None:
    operator = written.from_file(source, "scaled", [4, 8], [1])
    path = files.write(tmp_path / "operators", operator)
    imported = cache.import_source(in_place(str(path)), cache.Shape(1, 1), tmp_path / "imports")
    assert ([t.name for t in imported.inputs], "unscheduled" in imported.against) == (["a"], True)
    runner = compile_plainly(tmp_path / "imports", imported, 1, 1, tmp_path / "out")
    (first, *_) = cache.load_samples(tmp_path / "imports", imported)
    assert compare(runner.run(**first.inputs), first.outputs).ok


@pytest.mark.parametrize(("function", "says"), [("broken", "not today"), ("absent", "no function absent")])
def test_a_function_that_fails_is_named_with_its_reason(source: Path, function: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        written.from_file(source, function, [4], [])


def test_what_can_not_be_tuned_is_refused_at_import(source: Path, tmp_path: Path) -> None:
    operator = written.from_file(source, "halves", [4], [])
    for wrong, says in (
        (operator, "not float32"),
        (operator.model_copy(update={"tir": '{"nodes": []}'}), "no TIR"),
        (written.from_file(source, "scaled", [4, 8], [0, 1]), "constants"),
        (OperatorIn(name="list", tir=str(tvm.ir.save_json(tvm.ir.Range(0, 1)))), "no function"),
    ):
        path = files.write(tmp_path / "operators", wrong)
        with pytest.raises(ModelInvalid, match=says):
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
