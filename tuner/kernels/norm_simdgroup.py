"""A product of rows whose layer norm is part of it, for Apple GPUs: see ``graph/norm_product.py``.

A threadgroup reads its rows once, for the product, and sums them up as they come: the variance about each row's first
element, so that rows far from zero lose nothing. Those of the first column also leave what they found for others.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import cache
from typing import Any

from tvm import IRModule, te
from tvm.s_tir import Schedule
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from tuner.graph.attention_kernel import whole
from tuner.graph.norm_product import ACTIVATIONS, NormProduct, attributes
from tuner.kernels import simdgroup_tiles
from tuner.kernels.blocks import block_names
from tuner.kernels.emit import argument, store
from tuner.kernels.emit_simdgroup import clear, combine, leave, load, matrices, multiply, wait, where
from tuner.kernels.expressions import moved
from tuner.kernels.simdgroup_tiles import BANK_BYTES, MATRIX_LANES, SIDE, SIMD_WIDTH, Cost, Gpu, Tile, Work, cost_of

_SUMMING = 6  # of an element, each of three instructions as much as a multiply-add
_LANES = 4  # of Metal's longest vector
# Rows are summed up anew for each block of columns: a wide tile does that less often.
TILES = (Tile(32, 128, 16, 1, 4), *simdgroup_tiles.TILES)


def tiles(product: NormProduct, gpu: Gpu, most_threads: int, most_bytes: int) -> list[Tile]:
    """All that fit a threadgroup, the quickest by the model first."""
    fitting = [
        tile
        for tile in TILES
        if product.depth % tile.depth == 0
        and tile.threads(SIMD_WIDTH) <= most_threads
        and tile.shared_bytes(4) + _of_rows(tile) <= most_bytes
    ]
    return sorted(fitting, key=lambda tile: cost(tile, product, gpu).cycles)


def cost(tile: Tile, product: NormProduct, gpu: Gpu) -> Cost:
    """What the model says: as of a product alone, and that rows are read from threadgroup memory once more."""
    size = product.element_bytes
    across = tile.columns // tile.simd_columns // SIDE
    down = tile.rows // tile.simd_rows // SIDE
    simdgroups = tile.simd_rows * tile.simd_columns
    work = Work(
        threadgroups=math.ceil(product.rows / tile.rows) * math.ceil(product.columns / tile.columns),
        simdgroups=simdgroups,
        flops=tile.rows * product.depth * (2 * tile.columns + _SUMMING),
        read_bytes=(tile.rows * (4 if size == 4 else 8) + tile.columns * size) * product.depth,
        near_bytes=(simdgroups * (down + across) * SIDE + tile.rows) * product.depth * size,
        register_bytes=tile.threads(SIMD_WIDTH) * (down * across + down + across) * MATRIX_LANES * 4,
        shared_bytes=tile.shared_bytes(4) + _of_rows(tile),
    )
    return cost_of(work, gpu)


def _of_rows(tile: Tile) -> int:
    return tile.rows * 2 * 4


def write(product: NormProduct, tile: Tile) -> Any:
    """The kernel, a PrimFunc with the arguments of ``norm_product.definition``."""
    groups = (math.ceil(product.rows / tile.rows), math.ceil(product.columns / tile.columns))
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        T.func_name("main")
        T.func_attr({"global_symbol": "main", "tirx.noalias": True, **attributes(product)})
        read = [
            argument("rows", (product.rows, product.depth)),
            argument("weights", (product.depth, product.columns), product.dtype),
            argument("sums", (product.columns,)),
            argument("bias", (product.columns,)),
        ]
        written = [argument(name, (product.rows,)) for name in ("means", "scales")]
        written.append(argument("out", (product.rows, product.columns)))
        with (
            T.sblock("root"),
            T.thread_binding(0, groups[0], "blockIdx.x") as down,
            T.thread_binding(0, groups[1], "blockIdx.y") as across,
            T.thread_binding(0, tile.simd_rows * tile.simd_columns, "threadIdx.y") as simdgroup,
            T.thread_binding(0, SIMD_WIDTH, "threadIdx.x") as lane,
            T.sblock("norm_product"),
        ):
            T.reads(*map(whole, read))
            T.writes(*map(whole, written))
            _Threadgroup(product, tile, read, written, (down, across, simdgroup, lane)).emit()
    return builder.get()


class _Threadgroup:
    """A tile of the result, from the view of one thread."""

    def __init__(
        self, product: NormProduct, tile: Tile, read: list[Any], written: list[Any], place: tuple[Any, ...]
    ) -> None:
        self.product, self.tile = product, tile
        self.rows, self.weights, self.column_sums, self.bias = read
        self.means, self.scales, self.out = written
        down, self.column_block, self.simdgroup, self.lane = place
        self.first_row, self.first_column = down * tile.rows, self.column_block * tile.columns
        self.down, self.across = tile.rows // tile.simd_rows // SIDE, tile.columns // tile.simd_columns // SIDE
        bank = BANK_BYTES // product.element_bytes
        self.left = T.alloc_buffer((tile.rows, tile.depth + bank), product.dtype, scope="shared")
        self.right = T.alloc_buffer((tile.depth, tile.columns + bank), product.dtype, scope="shared")
        self.result = T.alloc_buffer((tile.rows, tile.columns), scope="shared")
        self.of_rows = T.alloc_buffer((2, tile.rows), scope="shared")
        self.a, self.b = matrices(self.down, product.dtype), matrices(self.across, product.dtype)
        self.products = matrices(self.down * self.across)
        self.shared_rows = tile.rows * tile.depth // _LANES // tile.threads(SIMD_WIDTH)  # that a thread has a part of
        self.first, self.total, self.square = (T.alloc_buffer((self.shared_rows,), scope="local") for _ in range(3))

    def emit(self) -> None:
        """The whole kernel."""
        with T.unroll(0, self.down * self.across) as n:
            clear(self.products, n)
        with T.unroll(0, self.shared_rows) as n:
            row, _ = self._part(n, self.tile.depth)
            store(self.first, self.rows[self._row(row), 0], n)
            store(self.total, T.float32(0), n)
            store(self.square, T.float32(0), n)
        with T.serial(0, self.product.depth // self.tile.depth) as step:
            wait()
            self._bring(step * self.tile.depth)
            wait()
            self._sum_up(step * self.tile.depth)
            self._multiply()
        self._know_rows()
        top, side = self._corner()
        with T.unroll(0, self.down) as r, T.unroll(0, self.across) as c:
            leave(self.products, r * self.across + c, self.result, top + r * SIDE, side + c * SIDE)
        wait()
        self._leave()

    def _part(self, n: Any, width: int) -> tuple[Any, Any]:
        """Row and column of the ``n``-th vector of a thread's, where all share out a tile of this width."""
        vectors = width // _LANES
        at = n * self.tile.threads(SIMD_WIDTH) + self.simdgroup * SIMD_WIDTH + self.lane
        return at // vectors, at % vectors * _LANES

    def _row(self, row: Any) -> Any:
        """Of the operand; those past the end are its last once more."""
        return T.min(self.first_row + row, self.product.rows - 1)

    def _bring(self, depth: Any) -> None:
        tile, dtype = self.tile, self.product.dtype
        with T.unroll(0, self.shared_rows) as n, T.vectorized(0, _LANES) as part:
            row, k = self._part(n, tile.depth)
            store(self.left, T.cast(self.rows[self._row(row), depth + k + part], dtype), row, k + part)
        count = tile.depth * tile.columns // _LANES // tile.threads(SIMD_WIDTH)
        with T.unroll(0, count) as n, T.vectorized(0, _LANES) as part:
            k, column = self._part(n, tile.columns)
            last = T.min(self.first_column + column, self.product.columns - _LANES)
            store(self.right, self.weights[depth + k, last + part], k, column + part)

    def _sum_up(self, depth: Any) -> None:
        """What this thread brought, as it was before it was rounded; all of a row are brought by neighbours."""
        with T.unroll(0, self.shared_rows) as n, T.unroll(0, _LANES) as part:
            row, k = self._part(n, self.tile.depth)
            exact = self.product.dtype == "float32"
            brought = self.left[row, k + part] if exact else self.rows[self._row(row), depth + k + part]
            one = brought - self.first[n]
            store(self.total, self.total[n] + one, n)
            store(self.square, self.square[n] + one * one, n)

    def _corner(self) -> tuple[Any, Any]:
        """Of the simdgroup's part of the tile."""
        down, across = self.simdgroup // self.tile.simd_columns, self.simdgroup % self.tile.simd_columns
        return down * (self.down * SIDE), across * (self.across * SIDE)

    def _multiply(self) -> None:
        top, side = self._corner()
        with T.unroll(0, self.tile.depth // SIDE) as k:
            with T.unroll(0, self.down) as r:
                load(self.a, r, self.left, top + r * SIDE, k * SIDE)
            with T.unroll(0, self.across) as c:
                load(self.b, c, self.right, k * SIDE, side + c * SIDE)
            with T.unroll(0, self.down) as r, T.unroll(0, self.across) as c:
                n = r * self.across + c
                multiply(self.products, n, self.a, r, self.b, c, self.products, n)

    def _know_rows(self) -> None:
        """Mean and scale of each row, for the whole threadgroup, and for what else takes the norm."""
        inverse = T.float32(1.0 / self.product.depth)
        with T.unroll(0, self.shared_rows) as n:
            for sums in (self.total, self.square):
                combine(sums, n, self.lane, self.tile.depth // _LANES, operator.add)
            store(self.total, self.total[n] * inverse, n)
            spread = T.max(self.square[n] * inverse - self.total[n] * self.total[n], T.float32(0))
            store(self.square, T.float32(1) / T.sqrt(spread + T.float32(self.product.epsilon)), n)
            row, k = self._part(n, self.tile.depth)
            with T.If(k == 0), T.Then():
                for kind, buffer, value in (
                    (0, self.means, self.total[n] + self.first[n]),
                    (1, self.scales, self.square[n]),
                ):
                    store(self.of_rows, value, kind, row)
                    mine = T.And(self.column_block == 0, self.first_row + row < self.product.rows)
                    with where(mine, True):
                        store(buffer, value, self.first_row + row)

    def _leave(self) -> None:
        tile, product, follow = self.tile, self.product, _activation(self.product.activation)
        element = T.alloc_buffer((_LANES,), scope="local")  # an activation says it dozens of times
        count = tile.rows * tile.columns // _LANES // tile.threads(SIMD_WIDTH)
        with T.unroll(0, count) as n:
            row, column = self._part(n, tile.columns)
            with (
                where(self.first_row + row < product.rows, product.rows % tile.rows != 0),
                where(self.first_column + column < product.columns, product.columns % tile.columns != 0),
                T.vectorized(0, _LANES) as part,
            ):
                at = self.first_column + column + part
                centred = self.result[row, column + part] - self.of_rows[0, row] * self.column_sums[at]
                store(element, centred * self.of_rows[1, row] + self.bias[at], part)
                store(self.out, follow(element[part]), self.first_row + row, at)


@cache
def _activation(name: str) -> Callable[[Any], Any]:
    """What an activation makes of an element, as the plain kernel says it."""
    x = te.placeholder((1,), name="x")
    if not name:
        return lambda element: element
    schedule = Schedule(IRModule({"main": te.create_prim_func([x, ACTIVATIONS[name](x)])}))
    for block in block_names(schedule)[:-1]:
        schedule.compute_inline(schedule.get_sblock(block))
    last = schedule.get(schedule.get_sblock(block_names(schedule)[-1]))
    places = {str(axis.var.name): 0 for axis in last.iter_vars}
    return lambda element: moved(last.body.value, places, lambda _, __: element)
