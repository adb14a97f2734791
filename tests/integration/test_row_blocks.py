"""Products of any width by blocks of registers: what is computed, also in a panel that is not whole."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import te, tirx

from tests.support.gates import gated, gated_by_numpy
from tests.support.guarded import guarded, read_beyond
from tests.support.tiny_imports import local_target
from tuner.artifact.machine import misfit
from tuner.kernels import row_blocks, row_products, written
from tuner.kernels.context import make_target
from tuner.kernels.tiles import Cpu
from tuner.search.guess import MODEL, Guess, guess

DEPTH = 24
CASES = [(columns, rows, False) for columns in (1, 2, 3, 9, 17, 107) for rows in (1, 19)] + [
    (3, 70, True),
    (107, 70, True),
]
MACHINES = ["x86-64-v3", "x86-64-v4"]
ELSEWHERE = [
    {"kind": "llvm", "mtriple": "arm64-apple-macos", "mcpu": "apple-m1", "num-cores": 4},
    {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "neoverse-n1", "num-cores": 2},
]


def product(rows: Any, columns: int, depth: int = DEPTH, dtype: str = "float32") -> Any:
    """``relu(left @ constant + bias)``, as fusion leaves it."""
    shapes = {"left": (rows, depth), "constant": (depth, columns), "bias": (columns,)}
    left, constant, bias = (te.placeholder(shape, dtype, name=name) for name, shape in shapes.items())
    k = te.reduce_axis((0, depth), "k")
    sums = te.compute((rows, columns), lambda i, j: te.sum(left[i, k] * constant[k, j], axis=k), name="sums")
    added = te.compute((rows, columns), lambda i, j: sums[i, j] + bias[j], name="added")
    out = te.compute((rows, columns), lambda i, j: te.max(added[i, j], tirx.const(0.0, dtype)), name="out")
    function = te.create_prim_func([left, constant, bias, out]).with_attr("layout_free_buffers", [1])
    return tvm.IRModule({"main": function.with_attr("global_symbol", "main")})


def run(function: Any, target: Any, arrays: list[np.ndarray]) -> np.ndarray:
    """What the kernel makes of the arrays, the last of which is its result."""
    with target:
        library = tvm.compile(tvm.IRModule({"main": function}), target)
    tensors = [tvm.runtime.tensor(array) for array in arrays]
    library["main"](*tensors)
    return np.asarray(tensors[-1].numpy())


def here(mcpu: str) -> Any:
    """A processor of this kind, if this one can be it."""
    target = {**local_target(), "mcpu": mcpu}
    if misfit({"target": target}):
        pytest.skip(f"this processor is no {mcpu}")
    return make_target(target)


@pytest.mark.parametrize("mcpu", MACHINES)
@pytest.mark.parametrize(("columns", "rows", "symbolic"), CASES)
def test_a_product_of_any_width_is_computed_whole_and_nothing_beyond_it(
    mcpu: str, columns: int, rows: int, symbolic: bool
) -> None:
    left, constant, bias = numbers(rows, columns)
    wanted = np.maximum(left.astype("float64") @ constant + bias, 0.0)
    check(
        product(tirx.Var("tokens", "int64") if symbolic else rows, columns), here(mcpu), [left, constant, bias], wanted
    )


@pytest.mark.parametrize("mcpu", MACHINES)
@pytest.mark.parametrize(
    ("columns", "rows", "symbolic"), [(8, 19, False), (12, 1, False), (17, 19, False), (64, 19, False), (48, 70, True)]
)
def test_both_sums_of_a_gate_are_of_one_column_whatever_the_width(
    mcpu: str, columns: int, rows: int, symbolic: bool
) -> None:
    left, constant, bias = numbers(rows, 2 * columns)
    mod = gated(tirx.Var("tokens", "int64") if symbolic else rows, columns, DEPTH)
    check(mod, here(mcpu), [left, constant, bias], gated_by_numpy(left, constant, bias), 1e-4)


def numbers(rows: int, columns: int) -> list[np.ndarray]:
    """A left operand, a constant and a bias."""
    random = np.random.default_rng(columns)
    shapes = ((rows, DEPTH), (DEPTH, columns), (columns,))
    return [random.normal(size=shape).astype("float32") for shape in shapes]


def check(mod: Any, target: Any, arrays: list[np.ndarray], wanted: np.ndarray, most: float = 1e-5) -> None:
    """Some choices of a kernel, its constant packed before, and as it is."""
    found, writer = row_products.find(mod), written.writer_for(mod, target)
    assert found is not None
    assert writer is not None
    left, constant, bias = arrays
    symbolic = not isinstance(found.rows, tirx.IntImm)
    quickest_to_build = min(writer.choices, key=lambda tile: (tile.rows, tile.visit == 0))
    for tile in {quickest_to_build} if symbolic else {quickest_to_build, writer.choices[0]}:
        panels = np.zeros(row_blocks.packed_shape(found, tile), "float32")
        packed = run(row_blocks.packer(found, tile), target, [constant, panels])
        for given, kernel in ((packed, writer.write(tile)), (constant, writer.write_unpacked(tile))):
            got = run(kernel, target, [left, given, bias, np.full(wanted.shape, np.nan, "float32")])
            assert np.abs(got - wanted).max() < most, tile


def run_guarded(widths: list[int]) -> None:
    """What a process does, which ends where a kernel goes beyond its arguments."""
    target = make_target(local_target())
    rows, depth = 16, 32  # whole cache lines of each argument but the bias
    for columns in widths:
        mod = product(rows, columns, depth)
        found, writer = row_products.find(mod), written.writer_for(mod, target)
        tile = min(writer.choices, key=lambda tile: tile.rows)
        shapes = [(rows, depth), (depth, columns), (columns,), row_blocks.packed_shape(found, tile), (rows, columns)]
        left, constant, bias, panels, out = (
            tvm.runtime.from_dlpack(guarded(np.ones(shape, "float32"))) for shape in shapes
        )
        with target:
            pack, packed, plain = (
                tvm.compile(tvm.IRModule({"main": function}), target)["main"]
                for function in (row_blocks.packer(found, tile), writer.write(tile), writer.write_unpacked(tile))
            )
        pack(constant, panels)
        packed(left, panels, bias, out)
        plain(left, constant, bias, out)


@pytest.mark.parametrize(
    ("run", "arguments", "ending"), [(run_guarded, ([2, 17, 107],), 0), (read_beyond, (), -signal.SIGSEGV)]
)
def test_nothing_is_read_or_written_beyond_the_arguments(run: Any, arguments: Any, ending: int) -> None:
    process = multiprocessing.get_context("spawn").Process(target=run, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == ending


@pytest.mark.parametrize("target", ELSEWHERE, ids=lambda target: str(target["mcpu"]))
@pytest.mark.parametrize("columns", [3, 107])
def test_a_product_of_odd_width_builds_for_other_machines(target: dict[str, Any], columns: int) -> None:
    mod, tvm_target = product(19, columns), make_target(target)
    writer = written.writer_for(mod, tvm_target)
    assert writer is not None
    tile = next(choice for choice in writer.choices if isinstance(choice, row_blocks.RowTile))
    for function in (writer.write(tile), row_blocks.packer(row_products.find(mod), tile)):
        with tvm_target:
            assert "ret" in tvm.compile(tvm.IRModule({"main": function}), tvm_target).mod.inspect_source("asm")


def test_only_odd_widths_are_written_out_where_rows_are_known() -> None:
    target = make_target({"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": "x86-64-v4", "num-cores": 2})
    odd, even = product(128, 30522), product(128, 768)
    assert written.writer_for(even, target) is None
    found = guess(odd, target)
    assert found is not None
    first = written.from_json(found.trace)
    assert (found, first.lanes) == (Guess(written.to_json(first), MODEL), 16)
    assert row_blocks.packed_shape(row_products.find(odd), first)[0] == -(-30522 // first.width)


@pytest.mark.parametrize(
    ("mcpu", "columns", "is_written"),
    [
        ("znver4", 312, False),  # halves of its vectors are as quick
        ("znver4", 30524, True),
        ("icelake-server", 312, True),
        ("icelake-server", 1008, False),
        ("x86-64-v3", 312, False),
        ("x86-64-v3", 30524, True),
        ("znver1", 30524, False),
        ("x86-64-v2", 30524, False),
        ("x86-64-v2", 30522, True),
    ],
)
def test_a_width_is_odd_where_no_vector_that_keeps_a_core_busy_divides_it(
    mcpu: str, columns: int, is_written: bool
) -> None:
    target = make_target({"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": mcpu, "num-cores": 2})
    assert (written.writer_for(product(128, columns), target) is not None) is is_written


@pytest.mark.parametrize(
    ("columns", "lanes"), [(2, 4), (3, 4), (5, 8), (9, 16), (24, 16), (40, 16), (312, 16), (30524, 16), (768, 16)]
)
def test_vectors_are_those_of_which_the_fewest_hold_the_columns(columns: int, lanes: int) -> None:
    cpu = Cpu(16, 32, 2)
    found = row_products.find(product(8, columns))
    assert found is not None
    tiles = row_blocks.tiles(found, cpu)
    assert {tile.lanes for tile in tiles} == {lanes}
    for tile in tiles:
        panels, _, width = row_blocks.packed_shape(found, tile)
        assert (panels - 1) * width < columns <= panels * width
        assert columns % lanes or columns % width == 0, "where vectors are whole, so are panels"


def test_of_one_panel_the_cores_share_the_rows() -> None:
    target = make_target(local_target())
    mod = product(1024, 2)
    writer = written.writer_for(mod, target)
    assert writer is not None
    tile = writer.choices[0]
    assert f"T.parallel(T.int64({1024 // tile.visit}))" in writer.write(tile).script()


def of(compute: Callable[[Any, Any, Any, Any], Any]) -> Any:
    """A kernel of ``left (4, 6)``, ``constant (6, 3)``, both float32 and whatever ``compute`` makes of them."""
    left, constant = te.placeholder((4, 6), name="left"), te.placeholder((6, 3), name="constant")
    out = compute(left, constant, te.reduce_axis((0, 6), "k"), te.reduce_axis((0, 1), "more"))
    function = te.create_prim_func([left, constant, out]).with_attr("layout_free_buffers", [1])
    return tvm.IRModule({"main": function})


def transposed(left: Any, constant: Any, k: Any, _: Any) -> Any:
    sums = te.compute((4, 3), lambda i, j: te.sum(left[i, k] * constant[k, j], axis=k), name="sums")
    return te.compute((3, 4), lambda i, j: sums[j, i] + 1.0, name="out")


NO_PRODUCTS: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
    "of something computed first": lambda left, constant, k, _: te.compute(
        (4, 3), lambda i, j: te.sum(te.exp(left[i, k]) * constant[k, j], axis=k), name="out"
    ),
    "of every other row": lambda left, constant, k, _: te.compute(
        (2, 3), lambda i, j: te.sum(left[i * 2, k] * constant[k, j], axis=k), name="out"
    ),
    "over two axes": lambda left, constant, k, more: te.compute(
        (4, 3), lambda i, j: te.sum(left[i, k] * constant[k, j + more], axis=[k, more]), name="out"
    ),
    "the largest of sums": lambda left, constant, k, _: te.compute(
        (4, 3), lambda i, j: te.max(left[i, k] + constant[k, j], axis=k), name="out"
    ),
    "transposed": transposed,
}


@pytest.mark.parametrize("case", NO_PRODUCTS)
def test_what_is_no_plain_product_of_rows_is_not_written_as_one(case: str) -> None:
    mod = of(NO_PRODUCTS[case])
    assert row_products.find(mod) is None
    assert written.writer_for(mod, make_target(local_target())) is None


def test_other_types_than_float32_are_scheduled() -> None:
    assert written.writer_for(product(4, 3, dtype="float64"), make_target(local_target())) is None
