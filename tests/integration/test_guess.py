"""Without records, kernels are what their search would try first; what can't be built stays plain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import te
from tvm.s_tir import meta_schedule as ms

from tests.support import cpus
from tests.support.tiny_imports import import_tiny, local_target
from tests.support.tiny_models import write_model
from tests.support.tuning import product
from tuner.graph.attention_kernel import Attention, definition
from tuner.graph.operators import softmax_last_axis
from tuner.importers import cache
from tuner.importers.cache import Imported
from tuner.importers.sentences import Gate
from tuner.jobs import from_records
from tuner.jobs.from_records import Wanted, compile_known, verify_here
from tuner.kernels import products, tiles, written
from tuner.kernels.context import Replay, make_target, record_json, tuning_record
from tuner.kernels.space import space_for
from tuner.kernels.workload import ExtractedWorkload, extract, workload_id
from tuner.search.guess import GPU_MODEL, MODEL, RELATIVE, Guess, guess
from tuner.targets import presets

SEQ_LEN = 16


@cpus.each
def test_a_product_is_guessed_by_the_first_tile_of_its_core(cpu: dict[str, Any]) -> None:
    mod, target = product(32, 64, 96), make_target(cpu)
    found = guess(mod, target)
    assert found is not None
    described = products.find_product(mod)
    assert described is not None
    assert (products.tile_of(found.trace), found.by) == (tiles.tiles(described, products.cpu_of(target))[0], MODEL)
    assert Replay(mod, target, space_for(target)).schedule(found.trace) is not None


def attention_module() -> Any:
    shape = Attention(2, 16, 0.25, (96,), query=(0, 0), key=(0, 32), value=(0, 64), longest=8)
    return tvm.IRModule({"main": definition(shape)})


def test_attention_is_guessed_as_it_was_best_for_others_like_it() -> None:
    mod, target = attention_module(), make_target(local_target())
    writer = written.writer_for(mod, target)
    assert writer is not None
    other = written.to_json(writer.choices[-1])
    not_here = json.dumps(json.loads(other) | {"rows": 99})
    assert guess(mod, target) == Guess(written.to_json(writer.choices[0]), MODEL)
    assert guess(mod, target, [not_here, "[]", other]) == Guess(other, RELATIVE)


def test_a_transposition_is_guessed_by_blocks_and_right() -> None:
    """As attention brings its keys."""
    target = make_target(local_target())
    qkv = te.placeholder((32, 96), name="qkv")
    keys = te.compute((1, 2, 16, 32), lambda b, h, d, j: qkv[b * 32 + j, 32 + h * 16 + d], name="keys_t")
    mod = tvm.IRModule({"main": te.create_prim_func([qkv, keys]).with_attr("global_symbol", "main")})
    found = guess(mod, target)
    assert found is not None
    schedule = Replay(mod, target, space_for(target)).schedule(found.trace)
    assert schedule is not None
    values, out = np.random.default_rng(0).random((32, 96), np.float32), np.zeros((1, 2, 16, 32), np.float32)
    result = tvm.runtime.tensor(out)
    tvm.compile(schedule.mod, target)["main"](tvm.runtime.tensor(values), result)
    assert (result.numpy()[0] == values[:, 32:64].reshape(32, 2, 16).transpose(1, 2, 0)).all()


def test_softmax_is_guessed_and_a_kernel_without_a_space_is_not() -> None:
    target = make_target(local_target())
    x = te.placeholder((3, 24), name="x")
    rows = tvm.IRModule({"main": te.create_prim_func([x, softmax_last_axis(x)]).with_attr("global_symbol", "main")})
    added = te.compute(x.shape, lambda i, j: x[i, j] + 1.0, name="added")
    plain = tvm.IRModule({"main": te.create_prim_func([x, added]).with_attr("global_symbol", "main")})
    assert guess(rows, target) is not None
    assert guess(plain, target) is None


def test_products_on_an_apple_gpu_are_guessed_by_simdgroup_matrices() -> None:
    target = make_target(presets.resolve("m1-metal", "local").tvm)
    found = guess(product(128, 384, 384), target)
    assert found == Guess("simdgroup-32x64x16", GPU_MODEL)
    many_cores = make_target(presets.resolve("m1-ultra-metal", "local").tvm)
    assert guess(product(128, 384, 384), many_cores) != found
    assert guess(product(1, 64, 96), target) is None  # seven of eight rows would be padding


@pytest.fixture(scope="module")
def imports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("imports")


@pytest.fixture(scope="module")
def imported(imports: Path, tmp_path_factory: pytest.TempPathFactory) -> Imported:
    model = write_model(tmp_path_factory.mktemp("models") / "tiny", "distilbert")
    return import_tiny(model, "encoder", 1, SEQ_LEN, imports)


@pytest.fixture(scope="module")
def kernels(imports: Path, imported: Imported) -> list[ExtractedWorkload]:
    return extract(cache.load_module(imports, imported), make_target(local_target()))


def test_a_guess_that_can_not_be_built_leaves_its_kernel_plain(
    imports: Path,
    imported: Imported,
    kernels: list[ExtractedWorkload],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoiled = next(one for one in kernels if one.name == "matmul_add_gelu")

    def guessed(mod: Any, target: Any, relatives: Any = ()) -> Guess | None:
        if workload_id(mod) == spoiled.id:
            return Guess(_half_annotated(mod, target), MODEL)
        return guess(mod, target, relatives)

    monkeypatch.setattr(from_records, "guess", guessed)
    rows = [(one.weight, one.as_row()) for one in kernels]
    folder = tmp_path / "module"
    manifest = compile_known(imports, Wanted(imported, 1, SEQ_LEN, local_target()), rows, {}, folder)
    how = {one["kernel"]: one["by"] for one in manifest["schedules"]}
    assert how["matmul_add_gelu"] == "plain"
    assert how["matmul_add"] == f"guessed: {MODEL}"
    assert verify_here(imports, imported, folder, "module", Gate())["verification"]["max_abs_error"] < 1e-3


def _half_annotated(mod: Any, target: Any) -> str:
    """A trace that replays, and whose kernel TVM can't lower: a pipeline needs an order beside its stages."""
    schedule = tvm.s_tir.Schedule(mod)
    block = schedule.get_sblock("matmul")
    schedule.annotate(schedule.get_loops(block)[-1], "software_pipeline_stage", [0])
    return record_json(tuning_record(schedule.trace, ms.database.Workload(mod), None, target, []))
