"""Products at a lower precision, and whether kernels compute them: compiled together, run wherever they are for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tvm
from tvm import te, tirx

from tuner.kernels import dot_blocks, dot_packing, row_products
from tuner.kernels.dots import Dot

DEPTH, COLUMNS = 128, 96
# The unit roundoff of bf16; half a step of a byte's range, for the operand on each side.
ERROR = {"bf16": 2.0**-7, "fp16": 2.0**-8, "int8": 2e-2}

Run = Callable[[str, list[np.ndarray]], np.ndarray]  # a function by its name; its last argument as it leaves it
Load = Callable[[Mapping[str, Any]], Run]  # functions by name, in one library


def library(functions: Mapping[str, Any], target: Any) -> Any:
    """All of them compiled for a target."""
    named = {name: function.with_attr("global_symbol", name) for name, function in functions.items()}
    with target:
        return tvm.compile(tvm.IRModule(named), target)


def runner(compiled: Any, device: Any) -> Run:
    """Calls what a library holds, on the device where it is loaded."""

    def run(name: str, arrays: list[np.ndarray]) -> np.ndarray:
        tensors = [tvm.runtime.tensor(array, device) for array in arrays]
        compiled[name](*tensors)
        return np.asarray(tensors[-1].numpy())

    return run


def product(rows: Any, depth: int = DEPTH, columns: int = COLUMNS) -> Any:
    """``relu(left @ constant + bias)``, as fusion leaves it."""
    left, constant = te.placeholder((rows, depth), name="left"), te.placeholder((depth, columns), name="constant")
    bias, k = te.placeholder((columns,), name="bias"), te.reduce_axis((0, depth), "k")
    sums = te.compute((rows, columns), lambda i, j: te.sum(left[i, k] * constant[k, j], axis=k), name="sums")
    out = te.compute((rows, columns), lambda i, j: te.max(sums[i, j] + bias[j], tirx.const(0.0)), name="out")
    function = te.create_prim_func([left, constant, bias, out]).with_attr("layout_free_buffers", [1])
    return tvm.IRModule({"main": function})


def operands(rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Its arguments but for the result."""
    numbers = np.random.default_rng(7)
    left = numbers.normal(0.3, 1.0, (rows, DEPTH)).astype("float32")
    left[0] = 0.25  # a row whose range is nothing
    constant = numbers.normal(0.0, 0.05, (DEPTH, COLUMNS)).astype("float32")
    constant[:, 5] = 0.0
    return left, constant, numbers.normal(size=COLUMNS).astype("float32")


def check(dot: Dot, load: Load, rows: int, symbolic: bool, every: int = 15) -> None:
    """Some tiles compute the product: packed before, and packed by the kernel itself."""
    mod = product(tirx.Var("tokens", "int64") if symbolic else rows)
    found = row_products.find(mod)
    assert found is not None
    left, constant, bias = operands(rows)
    wanted = np.maximum(left.astype("float64") @ constant + bias, 0.0)
    tiles = dot_blocks.tiles(found, dot)[4 :: every * 2 if symbolic else every]
    kernels = {
        f"{'given' if is_packed else 'packing'}{n}": dot_blocks.write(mod, found, tile, dot, packed=is_packed)
        for n, tile in enumerate(tiles)
        for is_packed in (True, False)
    }
    run = load(kernels | {f"packer{n}": dot_packing.packer(found, tile, dot) for n, tile in enumerate(tiles)})
    for n, tile in enumerate(tiles):
        shape = dot_packing.packed_shape(found, tile, dot)
        packed = run(f"packer{n}", [constant, np.zeros(shape, dot.constant)])
        for kernel, given in ((f"given{n}", packed), (f"packing{n}", constant)):
            got = run(kernel, [left, given, bias, np.zeros((rows, COLUMNS), "float32")])
            assert np.abs(got - wanted).max() < ERROR[dot.precision] * np.abs(wanted).max(), (tile, kernel)
