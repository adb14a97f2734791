"""Products by simdgroup matrices: whatever their shapes, types and layouts, and what is none."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import te

from tests.support import msl
from tests.support.metal import TARGET, Kernel
from tests.support.msl.source import lower
from tuner.importers.operators import catalog, expressions
from tuner.kernels import simdgroup
from tuner.kernels.simdgroup_tiles import TILES, TILES_OF_HALVES, Tile

pytestmark = pytest.mark.skipif(msl.missing_compiler() is not None, reason=str(msl.missing_compiler()))

SMALLEST = TILES[-1]


def product(dtype: str, rows: int, columns: int, depth: int, result: str = "") -> Kernel:
    a, b = te.placeholder((rows, depth), dtype, name="a"), te.placeholder((depth, columns), dtype, name="b")
    k, out = te.reduce_axis((0, depth), "k"), result or dtype
    c = te.compute((rows, columns), lambda i, j: te.sum(a[i, k].astype(out) * b[k, j].astype(out), axis=k), name="c")
    return Kernel("product", tvm.IRModule({"main": te.create_prim_func([a, b, c])}))


def run(kernel: Kernel, tile: Tile, tolerance: float) -> str:
    """Check the kernel's result; returns its Metal source."""
    made = simdgroup.schedule(tile, kernel.mod, TARGET)
    assert made is not None
    code, inputs = lower(made.mod, TARGET), kernel.arguments()
    result = msl.run_lowered(code, inputs)[-1].astype(np.float64)
    assert np.abs(result - kernel.expected(inputs)).max() <= tolerance
    return code.metal


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", [(5, 70, 36), (65, 24, 48), (33, 33, 33)], ids=str)
def test_shapes_that_no_tile_divides_are_padded(dtype: str, shape: tuple[int, int, int]) -> None:
    run(product(dtype, *shape), SMALLEST, 1e-5 if dtype == "float32" else 5e-2)


@pytest.mark.parametrize("operator", ["gemm:32,64,48", "swish_gemm:32,64,48", "batch_gemm:3,16,32,24"])
def test_right_operand_may_be_stored_by_columns(operator: str) -> None:
    func = expressions.define(catalog.parse(f"op:{operator}")).func
    source = run(Kernel(operator, tvm.IRModule({"main": func})), SMALLEST, 1e-4)
    assert "(bool)1" in source  # loaded transposed
    assert source.count("device float4") == 3 if "batch" not in operator else "device float4" in source


@pytest.mark.parametrize("tile", TILES_OF_HALVES, ids=lambda tile: tile.name)
def test_halves_are_added_up_in_float32(tile: Tile) -> None:
    source = run(product("float16", 33, 70, 100, "float32"), tile, 1e-4)  # a half of such a sum is off by a hundredth
    assert "simdgroup_half8x8" in source
    assert "simdgroup_float8x8" in source


def test_matrices_of_two_types_are_left_alone() -> None:
    a, b = te.placeholder((16, 32), "float16", name="a"), te.placeholder((32, 64), "float32", name="b")
    k = te.reduce_axis((0, 32), "k")
    c = te.compute((16, 64), lambda i, j: te.sum(a[i, k].astype("float32") * b[k, j], axis=k), name="c")
    mod = tvm.IRModule({"main": te.create_prim_func([a, b, c])})
    assert simdgroup.schedule(SMALLEST, mod, TARGET) is None


def test_reductions_that_are_no_product_are_left_alone() -> None:
    a = te.placeholder((32, 64), name="a")
    k = te.reduce_axis((0, 64), "k")
    total = te.compute((32,), lambda i: te.sum(a[i, k], axis=k), name="total")
    assert simdgroup.schedule(SMALLEST, tvm.IRModule({"main": te.create_prim_func([a, total])}), TARGET) is None
