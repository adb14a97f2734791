"""Products by a library of the target's: they compute what the plain ones do, and are found, kept and loaded so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import te

from rpc.errors import DeviceUnavailable
from tests.support import blas
from tests.support.gates import gated, gated_by_numpy
from tests.support.processes import free_port
from tests.support.rpc_device import agent_process, tracker_process
from tests.support.tiny_imports import import_tiny, local_target
from tests.support.tiny_models import write_model
from tests.support.tuning import Bench, device, product
from tuner.artifact.loader import load
from tuner.artifact.symbols import problems, read_library
from tuner.compiler.module import base_manifest, compile_into, write_manifest
from tuner.importers import cache
from tuner.importers.comparison import compare
from tuner.jobs.provenance import units_of
from tuner.kernels import products, written
from tuner.kernels.blas import BlasCall
from tuner.kernels.context import make_target
from tuner.kernels.link import linker_for
from tuner.kernels.workload import describe, extract
from tuner.measuring.identity import Expected
from tuner.measuring.outputs import OutputCheck
from tuner.search.costmodel import make_cost_model
from tuner.search.entrants import entrants_of
from tuner.search.finals import Finals
from tuner.search.guess import guess
from tuner.search.session import SearchSession
from tuner.targets import presets
from tuner.targets.blas import without_blas

CALL = written.to_json(BlasCall())
M1 = presets.resolve("m1-cpu", "local").tvm


@pytest.fixture
def target() -> dict[str, Any]:
    """This machine with what stands for OpenBLAS."""
    blas.loaded()
    return {**local_target(), "libs": ["openblas"]}


def for_texts(depth: int, columns: int, counted: str = "tokens") -> Any:
    """``a @ b + bias + residual`` over any number of rows, one for each of what is ``counted``."""
    rows = te.var(counted, dtype="int64")
    a, b = te.placeholder((rows, depth), name="a"), te.placeholder((depth, columns), name="b")
    bias, residual = te.placeholder((columns,), name="bias"), te.placeholder((rows, columns), name="residual")
    k = te.reduce_axis((0, depth), "k")
    total = te.compute((rows, columns), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="product")
    out = te.compute((rows, columns), lambda i, j: total[i, j] + bias[j] + residual[i, j], name="added")
    func = te.create_prim_func([a, b, bias, residual, out]).with_attr("layout_free_buffers", [1])
    return tvm.IRModule({"main": func.with_attr({"global_symbol": "main", "tirx.noalias": True})})


def test_a_product_and_what_follows_it_are_right(target: dict[str, Any]) -> None:
    mod, llvm = product(6, 32, 24), make_target(target)
    made = written.rewritten(CALL, mod, llvm)
    random, before = np.random.default_rng(0), blas.calls()
    a, b = random.standard_normal((6, 32), np.float32), random.standard_normal((32, 24), np.float32)
    out = tvm.runtime.tensor(np.full((6, 24), np.nan, np.float32))
    tvm.compile(made, llvm)["main"](tvm.runtime.tensor(a), tvm.runtime.tensor(b), out)
    np.testing.assert_allclose(out.numpy(), np.maximum(a @ b, 0), rtol=1e-5, atol=1e-5)
    assert blas.calls() == before + 1


def test_a_product_of_any_number_of_rows_is_right(target: dict[str, Any]) -> None:
    mod, llvm = for_texts(16, 40), make_target(target)
    compiled = tvm.compile(written.rewritten(CALL, mod, llvm), llvm)
    random = np.random.default_rng(0)
    for rows in (1, 7, 33):
        shapes = ((rows, 16), (16, 40), (40,), (rows, 40))
        a, b, bias, residual = (random.standard_normal(shape, np.float32) for shape in shapes)
        out = tvm.runtime.tensor(np.full((rows, 40), np.nan, np.float32))
        compiled["main"](*map(tvm.runtime.tensor, (a, b, bias, residual)), out)
        np.testing.assert_allclose(out.numpy(), a @ b + bias + residual, rtol=1e-5, atol=1e-5)


def test_a_gate_takes_its_halves_where_the_library_leaves_them(target: dict[str, Any]) -> None:
    llvm, random = make_target(target), np.random.default_rng(0)
    compiled = tvm.compile(written.rewritten(CALL, gated(7, 24, 16), llvm), llvm)
    a, b, bias = (random.standard_normal(shape, np.float32) for shape in ((7, 16), (16, 48), (48,)))
    out = tvm.runtime.tensor(np.full((7, 24), np.nan, np.float32))
    compiled["main"](*map(tvm.runtime.tensor, (a, b, bias)), out)
    np.testing.assert_allclose(out.numpy(), gated_by_numpy(a, b, bias), rtol=1e-5, atol=1e-4)


def test_only_a_target_that_declares_a_library_has_it(target: dict[str, Any]) -> None:
    for mod in (product(6, 32, 24), for_texts(16, 40)):
        assert written.rewritten(CALL, mod, make_target(without_blas(target))) is None
        plain = written.writer_for(mod, make_target(without_blas(target)))
        assert plain is None or not any(isinstance(choice, BlasCall) for choice in plain.choices)


def test_a_product_that_is_none_of_float32_is_left_to_the_cores(target: dict[str, Any]) -> None:
    a, b = te.placeholder((8, 16), dtype="float16", name="a"), te.placeholder((16, 8), dtype="float16", name="b")
    k = te.reduce_axis((0, 16), "k")
    total = te.compute((8, 8), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="product")
    func = te.create_prim_func([a, b, total]).with_attr("layout_free_buffers", [1])
    mod = tvm.IRModule({"main": func.with_attr({"global_symbol": "main", "tirx.noalias": True})})
    assert written.beside(mod, make_target(target)) is None


def test_a_search_tries_the_library_first_and_tiles_after_it(target: dict[str, Any]) -> None:
    mod, llvm = product(), make_target(target)

    def session() -> SearchSession:
        return SearchSession(str(tvm.ir.save_json(mod)), llvm, make_cost_model(1), batch=4, threads=1, seed=1)

    first, *others = session().propose(4)
    assert first.trace == CALL
    assert len(others) == 3
    assert all(products.tile_of(one.trace) is not None for one in others)
    assert products.tile_of(first.trace) is None
    resumed = session()
    resumed.learn([(first.id, first.trace, [1e-6])])
    resumed.avoid([first.id])
    assert CALL not in [one.trace for one in resumed.propose(4)]


def test_a_search_of_any_number_of_rows_tries_it_among_the_first(target: dict[str, Any]) -> None:
    mod = for_texts(16, 64)
    search = SearchSession(
        str(tvm.ir.save_json(mod)), make_target(target), make_cost_model(1), batch=4, threads=1, seed=1
    )
    found = list(search.propose(6))
    assert [one.trace for one in found].index(CALL) == 1
    search.tell([(one, [1e-6]) for one in found])
    assert len(list(search.propose(6))) == 6


@pytest.mark.parametrize(("rows", "depth", "columns"), [(128, 768, 2304), (128, 3072, 768), (1024, 384, 384)])
def test_large_products_are_guessed_for_apple_by_its_library(rows: int, depth: int, columns: int) -> None:
    found = guess(product(rows, depth, columns), make_target(M1))
    assert found is not None
    assert found.trace == CALL


@pytest.mark.parametrize(("rows", "depth", "columns"), [(16, 64, 64), (1, 768, 768), (8, 384, 384)])
def test_small_products_are_guessed_for_apple_by_its_cores(rows: int, depth: int, columns: int) -> None:
    found = guess(product(rows, depth, columns), make_target(M1))
    assert found is not None
    assert products.tile_of(found.trace) is not None


@pytest.mark.parametrize(("counted", "is_by_library"), [("tokens", True), ("texts", False)])
def test_rows_that_are_not_known_are_guessed_for_one_text(counted: str, is_by_library: bool) -> None:
    found = guess(for_texts(768, 768, counted), make_target(M1))
    assert found is not None
    assert (found.trace == CALL) is is_by_library


def test_a_manifest_says_which_unit_computes_a_kernel() -> None:
    kernels = [(12, describe(product(128, depth, 768), "matmul", 12).as_row()) for depth in (768, 3072)]
    (_, first), (_, second) = kernels
    traces = {first.tir: CALL, second.tir: "[]"}
    assert units_of(kernels, traces, M1) == {first.id: "AMX"}
    assert units_of(kernels, traces, without_blas(M1)) == {}


def test_a_library_for_macs_is_linked_with_its_calls_left_open(tmp_path: Path) -> None:
    path, llvm = tmp_path / "lib.dylib", make_target(M1)
    made = written.rewritten(CALL, product(128, 256, 256), llvm)
    tvm.compile(made, llvm).export_library(str(path), fcompile=linker_for(M1))
    found = read_library(path)
    assert "cblas_sgemm" in found.undefined
    assert not any("cblas_sgemm" in reason for reason in problems(found, M1, []))


def test_a_model_whose_products_are_the_librarys_computes_what_pytorch_does(
    target: dict[str, Any], tmp_path: Path
) -> None:
    root = tmp_path / "imports"
    imported = import_tiny(write_model(tmp_path / "tiny", "bert"), "encoder", 1, 16, root)
    prepared, llvm = cache.load_prepared(root, imported), make_target(target)
    kernels = extract(prepared.mod, llvm)
    winners = {one.tir: (CALL, [1e-6]) for one in kernels if written.beside(one.mod, llvm) is not None}
    assert len(winners) >= 4
    compiled = compile_into(tmp_path / "module", prepared, target, winners)
    assert compiled.left_out == {}
    assert compiled.checked["blas"] == "libopenblas.so.0"
    write_manifest(tmp_path / "module", base_manifest(imported, 1, 16, target, compiled))
    before = blas.calls()
    runner = load(tmp_path / "module")
    for sample in cache.load_samples(root, imported):
        assert compare(runner.run(**sample.inputs), sample.outputs).ok
    assert blas.calls() > before


@pytest.fixture(scope="module")
def tracker() -> Iterator[int]:
    number = free_port()
    with tracker_process(number):
        yield number


@pytest.fixture
def bench(tracker: int, tmp_path: Path) -> Iterator[Bench]:
    """A device that has the library, and a tuner for it."""
    blas.build(tmp_path)
    found = Bench(tmp_path / "data", tracker)
    found.device = replace(found.device, blas="openblas")
    with agent_process(tracker, LD_LIBRARY_PATH=str(tmp_path)):
        yield found
    found.close()


def test_a_device_measures_it_beside_tiles_and_keeps_it_as_a_record(bench: Bench) -> None:
    job = bench.job(product(16, 32, 64), libs=["openblas"])
    first, *others = bench.records(bench.round(job, batch=3))
    assert (first.trace, first.error) == (CALL, "")
    assert first.run_secs
    assert [products.tile_of(one.trace) is not None for one in others] == [True, True]
    work, folder = bench.workload(job), bench.settings.root
    finals = Finals(bench.device, bench.tuner.builders, job.target_json, folder / "finals")
    final = finals.decide(work.id, work.tir, work.weight_bytes, [first])
    assert final.left_out == ()
    check = OutputCheck(
        product(16, 32, 64), json.dumps(job.target_json), bench.device, bench.tuner.builders, folder / "checks"
    )
    (_, entrant), _ = entrants_of(product(16, 32, 64), [first], make_target(job.target_json))
    assert check.problem_of(entrant, folder / "again") is None


def test_a_device_without_the_library_is_named(tracker: int) -> None:
    with agent_process(tracker, key="bare"):
        bare = replace(device(tracker), key="bare", blas="accelerate")
        with pytest.raises(DeviceUnavailable, match=r"'bare' has no accelerate: .*Accelerate"), bare.lease():
            pass


def test_another_device_is_told_as_that_before_a_library_is_looked_for(tracker: int) -> None:
    with agent_process(tracker, key="other"):
        expected = Expected("apple-m1", "aarch64")
        other = replace(device(tracker), key="other", blas="accelerate", expected=expected)
        with (
            pytest.raises(DeviceUnavailable, match=r"'other' is of .*, and the job's target is aarch64"),
            other.lease(),
        ):
            pass
