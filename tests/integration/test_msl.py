"""The executor of Metal kernels: it computes what they say, and sees what is wrong with them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import te

from tests.support import msl
from tests.support.metal import TARGET, Kernel, half_kernels
from tests.support.msl import KernelFault
from tests.support.msl.source import lower
from tuner.kernels import ready_made

pytestmark = pytest.mark.skipif(msl.missing_compiler() is not None, reason=str(msl.missing_compiler()))

BARRIER = "threadgroup_barrier(mem_flags::mem_threadgroup);"


def product(dtype: str = "float32", rows: int = 32, columns: int = 64, depth: int = 32) -> Kernel:
    a, b = te.placeholder((rows, depth), dtype, name="a"), te.placeholder((depth, columns), dtype, name="b")
    k = te.reduce_axis((0, depth), "k")
    c = te.compute((rows, columns), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="c")
    return Kernel("product", tvm.IRModule({"main": te.create_prim_func([a, b, c])}))


def scheduled(kernel: Kernel, name: str = "dlight") -> Any:
    schedule = ready_made.schedule(name, kernel.mod, TARGET)
    assert schedule is not None
    return schedule.mod


def without(text: str, which: int, kernel: Kernel) -> msl.Lowered:
    """A kernel's source without one occurrence of ``text``."""
    lowered = lower(scheduled(kernel), TARGET)
    parts = lowered.metal.split(text)
    assert len(parts) > which + 1
    return replace(lowered, metal=text.join(parts[: which + 1]) + text.join(["", *parts[which + 1 :]])[len(text) :])


def test_a_missing_barrier_is_a_race() -> None:
    kernel = product()
    broken = without(BARRIER, 1, kernel)
    with pytest.raises(KernelFault, match=r"race: .*no barrier between|uninitialised: .*nobody wrote"):
        msl.run_lowered(broken, kernel.arguments())


def test_a_race_is_found_whatever_the_order_of_threads() -> None:
    kernel = product()
    broken = without(BARRIER, 0, kernel)  # the one that keeps the next tile from overwriting the last
    for seed in range(3):
        with pytest.raises(KernelFault, match=r"race: "):
            msl.run_lowered(broken, kernel.arguments(), seed=seed)


def test_a_missing_barrier_among_simdgroup_matrices_is_a_race() -> None:
    kernel = product("float16")
    for which in (1, 2):
        with pytest.raises(KernelFault, match=r"race: .*|uninitialised: "):
            msl.run_lowered(without(BARRIER, which, kernel), kernel.arguments())


def test_an_access_beyond_device_memory_is_found() -> None:
    kernel = product()
    inputs = kernel.arguments()
    lowered = lower(scheduled(kernel, "threads"), TARGET)
    broken = replace(lowered, metal=lowered.metal.replace("b_ptr[", "b_ptr[64 + "))
    with pytest.raises(KernelFault, match=r"out of bounds: device memory"):
        msl.run_lowered(broken, inputs)


def test_an_access_beyond_threadgroup_memory_is_found() -> None:
    kernel = product()
    lowered = lower(scheduled(kernel), TARGET)
    declared = next(line for line in lowered.metal.splitlines() if "threadgroup float a" in line)
    size = int(declared.split("[")[1].split("]")[0])
    broken = replace(lowered, metal=lowered.metal.replace(declared, declared.replace(f"[{size}]", f"[{size - 1}]")))
    with pytest.raises(KernelFault, match=r"out of bounds: threadgroup memory a"):
        msl.run_lowered(broken, kernel.arguments())


def test_an_access_beyond_a_thread_s_own_array_is_found_by_the_sanitizer() -> None:
    kernel = product()
    lowered = lower(scheduled(kernel), TARGET)
    declared = next(line for line in lowered.metal.splitlines() if "thread float c" in line)
    broken = replace(lowered, metal=lowered.metal.replace(declared, declared.replace("[16]", "[15]")))
    with pytest.raises(KernelFault, match=r"out of bounds|stack-buffer-overflow"):
        msl.run_lowered(broken, kernel.arguments(), sanitize=True)


def test_threads_that_miss_a_barrier_are_found() -> None:
    kernel = product()
    lowered = lower(scheduled(kernel), TARGET)
    before, _, after = lowered.metal.rpartition("}")
    broken = replace(lowered, metal=f"{before} if ((int)threadIdx.x > 0) {BARRIER} }}{after}")
    with pytest.raises(KernelFault, match=r"divergence: some threads wait at a barrier that others never reach"):
        msl.run_lowered(broken, kernel.arguments())


def test_lanes_that_miss_a_simdgroup_operation_are_found() -> None:
    kernel = product("float16")
    lowered = lower(scheduled(kernel), TARGET)
    call = "simdgroup_multiply_accumulate("
    broken = replace(lowered, metal=lowered.metal.replace(call, "if ((int)threadIdx.x < 31) " + call, 1))
    with pytest.raises(KernelFault, match=r"divergence: lanes of a simdgroup"):
        msl.run_lowered(broken, kernel.arguments())


@pytest.mark.parametrize(
    ("limit", "message"),
    [("max_threadgroup_bytes", r"limit: \d+ bytes of threadgroup memory"), ("max_threads", r"limit: \d+ threads")],
)
def test_a_kernel_beyond_the_target_s_limits_is_refused(limit: str, message: str) -> None:
    kernel = product()
    lowered = replace(lower(scheduled(kernel), TARGET), **{limit: 63})
    with pytest.raises(KernelFault, match=message):
        msl.run_lowered(lowered, kernel.arguments())


def test_what_is_wrong_with_the_arguments_is_said_by_the_host_code() -> None:
    kernel = product()
    a, b, c = kernel.arguments()
    with pytest.raises(KernelFault, match=r"Invalid a.shape\[0\]"):
        msl.run(scheduled(kernel), TARGET, [a[:8], b, c])


def test_scalars_reach_the_kernel() -> None:
    n = te.var("n")
    a = te.placeholder((n, 8), "float32", name="a")
    doubled = te.compute((n, 8), lambda i, j: a[i, j] * 2.0 + n.astype("float32"), name="doubled")
    kernel = Kernel("dynamic", tvm.IRModule({"main": te.create_prim_func([a, doubled])}))
    x = np.arange(40, dtype=np.float32).reshape(5, 8)
    assert "arg.n" in lower(scheduled(kernel, "threads"), TARGET).metal
    _, result = msl.run(scheduled(kernel, "threads"), TARGET, [x, np.zeros_like(x)])
    np.testing.assert_array_equal(result, 2 * x + 5)


@pytest.mark.parametrize("seed", [0, 1])
def test_products_by_simdgroup_matrices_are_right(seed: int) -> None:
    kernel = product("float16")
    inputs = kernel.arguments()
    assert "simdgroup_multiply_accumulate" in lower(scheduled(kernel), TARGET).metal
    *_, result = msl.run(scheduled(kernel), TARGET, inputs, seed=seed)
    np.testing.assert_allclose(result, inputs[0].astype(np.float32) @ inputs[1], atol=2e-2)


def test_shuffles_across_several_simdgroups_are_right() -> None:
    kernel = next(kernel for kernel in half_kernels(16, 64, 4) if kernel.name == "softmax")
    inputs = kernel.arguments()
    assert "simd_shuffle_down" in lower(scheduled(kernel), TARGET).metal
    *_, result = msl.run(scheduled(kernel), TARGET, inputs)
    np.testing.assert_allclose(result, kernel.expected(inputs), atol=2e-3)
