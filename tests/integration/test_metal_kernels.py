"""Kernels of transformers on an Apple GPU, by ready-made and by searched schedules, run without one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
import tvm_ffi
from tvm.error import InternalError

from rpc.facts import physical_cores
from tests.support import msl
from tests.support.metal import (
    TARGET,
    Kernel,
    half_kernels,
    kernels_in,
    kernels_of,
    ready,
    sampled,
    sampled_schedules,
)
from tests.support.msl.source import Lowered, lower
from tests.support.sentence_models import write_sentence_model
from tests.support.tiny_models import WIDE_BERT
from tuner.compiler.module import _chosen
from tuner.kernels import lane_reads, ready_made, row_products, simdgroup_tiles
from tuner.kernels.halves import halved

pytestmark = pytest.mark.skipif(msl.missing_compiler() is not None, reason=str(msl.missing_compiler()))

PRODUCTS = {"matmul_add", "matmul_add_add", "matmul_add_gelu", "attention_scores", "attention_context"}
TILES = {tile.name for tile in simdgroup_tiles.TILES}
_SAMPLES = 2
_TOLERANCE = {"float32": 1e-4, "float16": 2e-2}  # of the largest output; float16 adds up in float16, as its kernels say


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> list[Kernel]:
    """Each for itself: what models have whose attention or norms don't fold."""
    return kernels_of("bert", 16, tmp_path_factory.mktemp("tiny"), graph="cuda")


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> list[Kernel]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tuner.graph.norms._ROWS", 16)
        return kernels_of("bert", 16, tmp_path_factory.mktemp("folded"))


@pytest.fixture(scope="module")
def ready_made_codes(tiny: list[Kernel]) -> dict[Kernel, dict[str, Lowered]]:
    return {kernel: ready(kernel) for kernel in tiny}


def check(codes: Iterable[tuple[Kernel, Lowered]], sanitize: bool = False) -> None:
    """Scheduled kernels give what the unscheduled ones do."""
    cases = [(kernel, code, kernel.arguments()) for kernel, code in codes]
    assert cases
    with ThreadPoolExecutor(physical_cores()) as pool:  # most of the time is the compiler's
        runs = pool.map(lambda case: msl.run_lowered(case[1], case[2], sanitize=sanitize)[-1], cases)
        expected = {kernel: kernel.expected(kernel.arguments()) for kernel in dict.fromkeys(case[0] for case in cases)}
        for (kernel, *_), result in zip(cases, runs, strict=True):
            wanted = expected[kernel].astype(np.float64)
            limit = _TOLERANCE.get(str(result.dtype), 0.0) * max(1.0, np.abs(wanted).max())
            assert np.isfinite(result).all(), kernel.name
            assert np.abs(result - wanted).max() <= limit, kernel.name


def test_every_kernel_of_a_small_bert_is_right_by_its_ready_made_schedules(
    ready_made_codes: dict[Kernel, dict[str, Lowered]],
) -> None:
    assert len(ready_made_codes) > 12
    check((kernel, code) for kernel, codes in ready_made_codes.items() for code in codes.values())


def test_every_kernel_that_a_layer_folds_into_is_right_by_its_first_choices(
    tiny: list[Kernel], folded: list[Kernel]
) -> None:
    known = {kernel.name for kernel in tiny}
    new = [kernel for kernel in folded if kernel.name not in known]
    assert {kernel.name for kernel in new} == {"attention", "norm_product", "norm_product_gelu", "matmul_add_residual"}
    check((kernel, code) for kernel in new for code in [*ready(kernel).values()][:2])


def test_kernels_that_make_a_vector_of_a_text_are_right(tiny: list[Kernel], tmp_path: Path) -> None:
    model = write_sentence_model(tmp_path / "model", modes=("mean", "max", "cls"), dense={})
    of_encoder = {kernel.name for kernel in tiny}
    behind = [
        kernel
        for kernel in kernels_in(model, "sentence-embedding", 16, tmp_path / "imports", "cuda")
        if kernel.name not in of_encoder
    ]
    assert len(behind) > 4
    check((kernel, ready(kernel)["dlight"]) for kernel in behind)


def test_products_of_a_small_bert_have_schedules_by_simdgroup_matrices(
    ready_made_codes: dict[Kernel, dict[str, Lowered]],
) -> None:
    made = {kernel.name: TILES & codes.keys() for kernel, codes in ready_made_codes.items()}
    assert {name: tiles for name, tiles in made.items() if tiles} == dict.fromkeys(PRODUCTS, TILES)
    sources = [codes[tile].metal for codes in ready_made_codes.values() for tile in TILES & codes.keys()]
    assert all("simdgroup_float8x8" in source and "float4" in source for source in sources)


def test_every_tunable_kernel_of_a_small_bert_is_right_by_searched_schedules(tiny: list[Kernel]) -> None:
    tunable = [kernel for kernel in tiny if kernel.tunable]
    assert len(tunable) > 8
    codes = [(kernel, code) for kernel in tunable for code in sampled(kernel, _SAMPLES)]
    assert len(codes) == len(tunable) * _SAMPLES
    check(codes)


def test_just_what_can_not_be_built_is_refused(tiny: list[Kernel], monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails when TVM has mended its ``VectorTypeRewriter``: then ``lane_reads`` has done its work."""
    expected = lane_reads.lanes_are_readable
    monkeypatch.setattr(lane_reads, "lanes_are_readable", lambda sch: True)
    outcomes = Counter(
        (expected(schedule), can_be_built(schedule))
        for kernel in tiny
        if kernel.name in ("matmul_add", "attention_scores", "attention_context")
        for schedule in sampled_schedules(kernel, 16)
    )
    assert outcomes.keys() == {(True, True), (False, False)}
    assert outcomes[False, False] > 4


def can_be_built(schedule: Any) -> bool:
    try:
        lower(schedule.mod, TARGET)
    except InternalError as failure:
        if "info.factor() % me->coeff == 0" not in str(failure):
            raise
        return False
    return True


def test_kernels_pass_under_the_sanitizers(
    tiny: list[Kernel], ready_made_codes: dict[Kernel, dict[str, Lowered]]
) -> None:
    searched = [kernel for kernel in tiny if kernel.name.startswith(("softmax", "layer_norm"))]
    product = next(kernel for kernel in tiny if kernel.name == "matmul_add_add")
    codes = [(kernel, next(sampled(kernel, 1))) for kernel in searched]
    check([*codes, (product, ready_made_codes[product]["simdgroup-32x32x32"])], sanitize=True)


def test_products_of_a_small_bert_in_halves_are_right(tiny: list[Kernel]) -> None:
    """They compute what they say themselves, by schedules of each kind, and that is near to float32."""
    found = {kernel: row_products.find(kernel.mod) for kernel in tiny if kernel.name.startswith("matmul")}
    halves = {
        kernel: Kernel(f"{kernel.name}_fp16", tvm.IRModule({"main": halved(kernel.mod["main"], product)}))
        for kernel, product in found.items()
        if product is not None
    }
    made = {kernel: ready(kernel) for kernel in halves.values()}
    names = {tile.name for tile in simdgroup_tiles.TILES_OF_HALVES}
    assert sum(names <= codes.keys() for codes in made.values()) == len(made) - 1 == 4  # the pooler's has a single row
    tried = {kernel: [codes["dlight"], *sampled(kernel, 1)] for kernel, codes in made.items()}
    first = next(iter(made))
    tried[first] += [made[first][name] for name in names]
    check((kernel, code) for kernel, codes in tried.items() for code in codes)
    for exact, kernel in halves.items():
        given = kernel.arguments()
        wanted = exact.expected([array.astype("float32") for array in given])
        assert np.abs(kernel.expected(given) - wanted).max() < 2e-3 * np.abs(wanted).max()


@pytest.mark.parametrize("kernel", half_kernels(16, 64, 4), ids=lambda kernel: kernel.name)
def test_float16_kernels_are_right_by_all_schedules(kernel: Kernel) -> None:
    check((kernel, code) for code in (*ready(kernel).values(), *sampled(kernel, _SAMPLES)))


def test_kernels_as_wide_as_bert_base_are_right(tmp_path: Path) -> None:
    check(
        (kernel, next(sampled(kernel, 1)))
        for kernel in kernels_of(WIDE_BERT, 8, tmp_path, graph="cuda")
        if kernel.tunable
    )


def test_searched_schedules_use_vectors_and_threadgroup_memory(tiny: list[Kernel]) -> None:
    products = [kernel for kernel in tiny if kernel.name.startswith("matmul")]
    sources = [code.metal for kernel in products[:2] for code in sampled(kernel, 6)]
    assert all("threadgroup float" in source for source in sources)
    assert any("float4" in source or "float2" in source for source in sources)


def test_restricted_target_gets_smaller_threadgroups() -> None:
    restricted = tvm.target.Target("apple/m1-gpu-restricted")
    kernel = half_kernels(64, 64, 4)[0]
    for code in sampled(kernel, 4, target=restricted):
        assert code.max_threads == 256
        msl.run_lowered(code, kernel.arguments())


@pytest.mark.parametrize(("name", "kind"), [("dlight", "softmax"), ("simdgroup-32x64x16", "matmul_add_gelu")])
def test_ready_made_winner_is_compiled_into_the_module(tiny: list[Kernel], name: str, kind: str) -> None:
    kernel = next(kernel for kernel in tiny if kernel.name == kind)
    tir = str(tvm.ir.save_json(kernel.mod))
    database, replaced, left_out = _chosen(kernel.mod, TARGET, {tir: (name, [1e-5])})
    assert not replaced
    assert not left_out
    with TARGET, database:
        applied = tvm.relax.transform.MetaScheduleApplyDatabase()(tvm.ir.load_json(tir))
    schedule = ready_made.schedule(name, kernel.mod, TARGET)
    assert schedule is not None
    assert tvm_ffi.structural_equal(applied["main"].body, schedule.mod["main"].body, map_free_vars=True)


def test_a_cpu_has_no_ready_made_schedules() -> None:
    assert ready_made.names(tvm.target.Target("llvm")) == ()
