"""Kernels of transformers on an Apple GPU, by ready-made and by searched schedules, run without one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tvm
import tvm_ffi

from tests.support import msl
from tests.support.metal import TARGET, Kernel, half_kernels, kernels_of, ready, sampled
from tests.support.msl.source import Lowered
from tests.support.tiny_models import WIDE_BERT
from tuner.compiler import ready_made
from tuner.compiler.module import _database

pytestmark = pytest.mark.skipif(msl.missing_compiler() is not None, reason=str(msl.missing_compiler()))

_SAMPLES = 2
_TOLERANCE = {"float32": 1e-4, "float16": 2e-2}  # of the largest output; float16 adds up in float16, as its kernels say


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> list[Kernel]:
    return kernels_of("bert", 16, tmp_path_factory.mktemp("tiny"))


def check(kernel: Kernel, code: Lowered, sanitize: bool = False) -> None:
    """The scheduled kernel gives what the unscheduled one does."""
    arguments = kernel.arguments()
    expected = kernel.expected(arguments).astype(np.float64)
    result = msl.run_lowered(code, arguments, sanitize=sanitize)[-1].astype(np.float64)
    limit = _TOLERANCE.get(str(arguments[-1].dtype), 0.0) * max(1.0, np.abs(expected).max())
    assert np.isfinite(result).all(), kernel.name
    assert np.abs(result - expected).max() <= limit, kernel.name


def test_every_kernel_of_a_small_bert_is_right_by_its_ready_made_schedules(tiny: list[Kernel]) -> None:
    assert len(tiny) > 12
    for kernel in tiny:
        for code in ready(kernel):
            check(kernel, code)


def test_every_tunable_kernel_of_a_small_bert_is_right_by_searched_schedules(tiny: list[Kernel]) -> None:
    tunable = [kernel for kernel in tiny if kernel.tunable]
    assert len(tunable) > 8
    for kernel in tunable:
        candidates = list(sampled(kernel, _SAMPLES))
        assert candidates, kernel.name
        for code in candidates:
            check(kernel, code)


def test_kernels_pass_under_the_sanitizers(tiny: list[Kernel]) -> None:
    for kernel in tiny:
        if kernel.name.startswith(("softmax", "layer_norm")):
            check(kernel, next(sampled(kernel, 1)), sanitize=True)


@pytest.mark.parametrize("kernel", half_kernels(16, 64, 4), ids=lambda kernel: kernel.name)
def test_float16_kernels_are_right_by_all_schedules(kernel: Kernel) -> None:
    for code in (*ready(kernel), *sampled(kernel, _SAMPLES)):
        check(kernel, code)


def test_kernels_as_wide_as_bert_base_are_right(tmp_path: Path) -> None:
    for kernel in kernels_of(WIDE_BERT, 8, tmp_path):
        if kernel.tunable:
            check(kernel, next(sampled(kernel, 1)))


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


def test_ready_made_winner_is_compiled_into_the_module(tiny: list[Kernel]) -> None:
    kernel = next(kernel for kernel in tiny if kernel.name.startswith("softmax"))
    tir = str(tvm.ir.save_json(kernel.mod))
    database = _database(TARGET, {tir: ("dlight", [1e-5])})
    with TARGET, database:
        applied = tvm.relax.transform.MetaScheduleApplyDatabase()(tvm.ir.load_json(tir))
    schedule = ready_made.schedule("dlight", kernel.mod, TARGET)
    assert schedule is not None
    assert tvm_ffi.structural_equal(applied["main"].body, schedule.mod["main"].body, map_free_vars=True)


def test_a_cpu_has_no_ready_made_schedules() -> None:
    assert ready_made.names(tvm.target.Target("llvm")) == ()
