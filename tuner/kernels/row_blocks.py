"""Products over any number of rows, by one kernel: rows are shared out evenly over blocks of registers.

Rows of activations know no sequence: those of all texts lie one after the other, and their number is known when the
kernel runs. A block holds at most so many rows as its sums fit the registers; ``n`` rows are ``ceil(n / most)`` blocks
whose sizes differ by one at most. For each size there is a loop of its own, so that not one row too many is computed,
and no block is too small to keep a core busy. The constant operand lies in panels as wide as a block, in the order in
which they are read: its layout depends on the width alone, never on the number of rows.

A panel comes from memory while its first block is summed up. A core's own prefetchers stop at the end of each page of
4 KiB and wait there for its first line; asked for a few lines some steps ahead, they go on: some percent with few rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product as combinations
from typing import Any

from tvm import tirx
from tvm.tirx.script import builder as T

from tuner.graph.attention_kernel import body
from tuner.kernels.emit import argument, kernel, scratch, store, vectors
from tuner.kernels.prefetch import request
from tuner.kernels.row_products import RowProduct
from tuner.kernels.tiles import Cpu

_MOST_ROWS, _MOST_VECTORS = 16, 6
_STRETCHES = (16, 0)  # steps of the reduction between requests for what comes next, about; 0: none are made
_ASKED = 4  # cache lines of a request: a core's own prefetchers go on from there
_VISITS = (0, 64, 192)
_LINE = 16  # float32 of a cache line


@dataclass(frozen=True)
class RowTile:
    """Blocks of at most ``rows`` by ``vectors`` of ``lanes``; a panel is used for ``visit`` rows at a time, or (0) all.

    Every ``stretch`` steps of the reduction the beginning of the next such stretch is asked for.
    """

    rows: int
    vectors: int
    visit: int
    stretch: int
    lanes: int

    @property
    def width(self) -> int:
        """Columns of a panel."""
        return self.vectors * self.lanes


def tiles(found: RowProduct, cpu: Cpu) -> list[RowTile]:
    """All tiles that fit a core's registers and divide the columns, most promising first."""
    lanes = cpu.lanes
    while lanes >= 4 and found.columns % lanes:
        lanes //= 2
    if lanes < 4:
        return []
    return [RowTile(*fields) for fields in blocks(found.columns, found.depth, lanes, cpu.registers)]


def blocks(columns: int, depth: int, lanes: int, registers: int) -> list[tuple[int, int, int, int, int]]:
    """The fields of all tiles for a product of so many columns and steps, most promising first."""
    shapes = []
    for count in range(1, _MOST_VECTORS + 1):
        rows = min(_MOST_ROWS, (registers - 1 - count) // count)
        if columns % (count * lanes) == 0 and rows > 0:
            shapes += [(most, count) for most in (rows, rows - 2) if most > 0]
    shapes.sort(key=lambda shape: -shape[0] * shape[1] / (shape[0] + shape[1]))  # sums for each load
    stretches = dict.fromkeys(_divisor(depth, wanted) for wanted in _STRETCHES)
    return [
        (rows, count, visit, stretch, lanes)
        for (stretch, visit), (rows, count) in combinations(combinations(stretches, _VISITS), shapes)
    ]


def packed_shape(found: RowProduct, tile: RowTile) -> tuple[int, int, int]:
    """The constant as the kernel reads it: panels of columns, each step after step of the reduction."""
    return (found.columns // tile.width, found.depth, tile.width)


def write(mod: Any, found: RowProduct, tile: RowTile, packed: bool = True) -> Any:
    """The kernel, a PrimFunc with the arguments of ``mod``'s function, its constant in the tile's panels; not
    ``packed``: as it is, slow, to look at its outputs."""
    known = {name: value for name, value in mod["main"].attrs.items() if name == "layout_free_buffers"}
    with kernel(known) as builder:
        buffers = arguments(found, (packed_shape(found, tile), "float32") if packed else None)
        with body("product", buffers[:-1], buffers[-1]):
            Emitter(found, tile, buffers, packed).run()
    return builder.get()


def packer(found: RowProduct, tile: RowTile) -> Any:
    """The PrimFunc that packs the constant ``(depth, columns)``, by any processor."""
    with kernel({}) as builder:
        plain = argument("plain", (found.depth, found.columns))
        packed = argument("packed", packed_shape(found, tile))
        with body("pack", [plain], packed):
            panels, depth, width = packed_shape(found, tile)
            with T.parallel(0, panels) as panel, T.serial(0, depth) as k, T.serial(0, width) as j:
                store(packed, plain[k, panel * width + j], panel, k, j)
    return builder.get()


def arguments(found: RowProduct, constant: tuple[tuple[int, ...], str] | None) -> list[Any]:
    """Declare the arguments of the kernel that is written, its constant by this shape and dtype where that is given."""
    variables: dict[str, Any] = {}
    buffers = []
    for n, buffer in enumerate(found.arguments):
        shape, dtype = tuple(_own(extent, variables) for extent in buffer.shape), str(buffer.dtype)
        if constant is not None and n == found.constant:
            shape, dtype = constant
        buffers.append(argument(f"argument{n}", shape, dtype))
    return buffers


def _own(extent: Any, variables: dict[str, Any]) -> Any:
    """An extent with variables of the kernel that is written."""
    if isinstance(extent, tirx.IntImm):
        return int(extent)
    return variables.setdefault(str(extent), tirx.Var(str(extent), "int64"))


@dataclass(frozen=True)
class Emitter:
    """Writes the kernel's body: panels shared out among the cores, and in each the blocks of rows."""

    found: RowProduct
    tile: RowTile
    buffers: list[Any]
    packed: bool

    @property
    def steps(self) -> int:
        """Steps of the reduction, each of which reads a row of a panel."""
        return self.found.depth

    def run(self) -> None:
        """Emit all of it."""
        panels = self.found.columns // self.tile.width
        rows = self.buffers[-1].shape[0]
        with T.parallel(0, panels) as panel:
            if not self.tile.visit:
                self._visit(panel, T.int64(0), rows)
                return
            visit = T.int64(self.tile.visit)
            with T.serial(0, (rows + visit - 1) // visit) as n:
                first = T.bind(n * visit)
                self._visit(panel, first, T.bind(T.min(rows - first, visit)))

    def _visit(self, panel: Any, first: Any, rows: Any) -> None:
        """A panel's columns of the result in ``rows`` rows from ``first`` on."""
        tile = self.tile
        blocks = T.bind((rows + (tile.rows - 1)) // tile.rows)
        size, larger = T.bind(rows // blocks), T.bind(rows % blocks)
        done = scratch((tile.rows, tile.width))
        with T.serial(0, blocks) as n:
            count = T.bind(size + T.cast(n < larger, "int64"))
            start = T.bind(first + n * size + T.min(n, larger))
            for most in self._sizes(rows):
                with T.If(count == most), T.Then():
                    self.sum_up(most, panel, start, done)
            with T.serial(0, count) as row, vectors(tile.vectors, tile.lanes) as column:
                at = start + row, panel * tile.width + column
                store(self.buffers[-1], self.found.follow(done[row, column], *at, self.buffers), *at)

    def _sizes(self, rows: Any) -> list[int]:
        """The sizes that a block may have: one or two, where the number of rows is known."""
        most = self.tile.rows
        if not isinstance(rows, tirx.IntImm):
            return list(range(most, 0, -1))
        blocks = -(-int(rows) // most)
        return sorted({int(rows) // blocks, -(-int(rows) // blocks)}, reverse=True)

    def sum_up(self, rows: int, panel: Any, start: Any, done: Any) -> None:
        """The sums of a block of ``rows`` rows from ``start`` on, into ``done``."""
        tile = self.tile
        left = self.buffers[self.found.left]
        sums = self.registers(rows, "float32")
        with self.stretches(panel) as k:
            for row, vector, column in self.block(rows):
                with T.vectorized(0, tile.lanes) as lane:
                    product = left[start + row, k] * self._constant(panel, k, column + lane)
                    store(sums[vector], sums[vector][row, lane] + product, row, lane)
        for row, vector, column in self.block(rows):
            with T.vectorized(0, tile.lanes) as lane:
                store(done, sums[vector][row, lane], row, column + lane)

    def registers(self, rows: int, dtype: str) -> list[Any]:
        """Sums of a block of rows, zeros, a buffer for each vector of columns: one for all would be too large for the
        stack, where LLVM knows that no request touches it, and keeps it in registers."""
        sums = [T.alloc_buffer((rows, self.tile.lanes), dtype) for _ in range(self.tile.vectors)]
        for row, vector, _ in self.block(rows):
            with T.vectorized(0, self.tile.lanes) as lane:
                store(sums[vector], T.Cast(dtype, T.int32(0)), row, lane)
        return sums

    def block(self, rows: int) -> Iterator[tuple[Any, int, int]]:
        """Row, vector and first column of each register of a block; rows are unrolled late, by TVM."""
        with T.unroll(0, rows) as row:
            for vector in range(self.tile.vectors):
                yield row, vector, vector * self.tile.lanes

    @contextmanager
    def stretches(self, panel: Any) -> Iterator[Any]:
        """The loop over the reduction, with requests for what comes next; its step."""
        stretch = self.tile.stretch or self.steps
        with T.serial(0, self.steps // stretch) as part:
            if self.tile.stretch and self.packed:
                self._ask(panel, part)
            with T.serial(0, stretch) as step:
                yield part * stretch + step

    def _constant(self, panel: Any, k: Any, column: Any) -> Any:
        constant = self.buffers[self.found.constant]
        return constant[panel, k, column] if self.packed else constant[k, panel * self.tile.width + column]

    def _ask(self, panel: Any, part: Any) -> None:
        """Request the beginning of the next stretch, of the next panel at the end of this one."""
        constant = self.buffers[self.found.constant]
        for line in range(_ASKED):  # addresses are linear: they may lie past the row's end, and past the panel's
            T.evaluate(request(constant[panel, (part + 1) * self.tile.stretch, line * _LINE]))


def _divisor(depth: int, wanted: int) -> int:
    """The divisor of the depth nearest to what is wanted; 0 stays 0."""
    if not wanted:
        return 0
    return min((n for n in range(1, depth) if depth % n == 0), key=lambda n: abs(n - wanted), default=0)
