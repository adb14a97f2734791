"""Products over any number of rows, by one kernel: rows are shared out evenly over blocks of registers.

Rows of activations know no sequence: those of all texts lie one after the other, and their number is known when the
kernel runs. A block holds at most so many rows as its sums fit the registers; ``n`` rows are ``ceil(n / most)`` blocks
whose sizes differ by one at most. For each size there is a loop of its own, so that not one row too many is computed,
and no block is too small to keep a core busy. The constant operand lies in panels as wide as a block, in the order in
which they are read: its layout depends on the width alone, never on the number of rows. Columns need not be whole
panels, nor whole vectors (a vocabulary of 30,522 is neither): the last panel is filled up, and what is summed up beyond
the last column is never stored.

A panel comes from memory while its first block is summed up. A core's own prefetchers stop at the end of each page of
4 KiB and wait there for its first line; asked for a few lines some steps ahead, they go on: some percent with few rows.
A narrow panel, of which a step reads half a line, they bring too late even so: all its lines are asked for, far ahead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product as combinations
from typing import Any

import tvm
from tvm import tirx
from tvm.tirx.script import builder as T

from tuner.graph.attention_kernel import body
from tuner.kernels import panels
from tuner.kernels.block_shapes import promise
from tuner.kernels.emit import argument, kernel, scratch, store, vectors
from tuner.kernels.prefetch import request
from tuner.kernels.row_products import RowProduct
from tuner.kernels.tiles import Cpu

_MOST_ROWS, _MOST_VECTORS = 16, 6
_STRETCHES = (16, 0)  # steps of the reduction between requests for what comes next, about; 0: none are made
_ASKED = 4  # cache lines of a request: a core's own prefetchers go on from there
_FEW_LINES, _FAR = 8, 12  # of a stretch so short all lines are asked for, so many stretches ahead
_MANY_ROWS = 64  # from which a panel is used so often that its first reading matters no more than the requests cost
_VISITS = (0, 64, 192)
_LINE_BYTES = 64


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
    """All tiles that fit a core's registers, most promising first; their vectors are those of which the fewest hold the
    columns."""
    lanes = panels.lanes_for(found.out_columns, cpu.lanes)
    return [RowTile(*fields) for fields in blocks(found, found.depth, lanes, cpu.registers)]


def blocks(
    found: RowProduct, depth: int, lanes: int, registers: int, at_a_time: int = 1, widened: bool = False
) -> list[tuple[int, int, int, int, int]]:
    """The fields of all tiles for a product of so many steps, most promising first (``block_shapes.py``). An
    instruction takes so many rows ``at_a_time``, and as many registers of a vector of columns, which may be
    ``widened``. Panels are all whole where vectors are, and hold as many vectors of each part."""
    shapes, needed, parts = [], panels.count(found.out_columns, lanes), found.parts
    for count in range(parts, min(_MOST_VECTORS, needed * parts) + 1, parts):
        rows = min(_MOST_ROWS, (registers - 1 - at_a_time * count) // count) // at_a_time * at_a_time
        if (found.out_columns % lanes or needed * parts % count == 0) and rows > 0:
            shapes += [(most, count) for most in (rows, rows - 2) if most > 0]
    known = int(found.rows) if isinstance(found.rows, tirx.IntImm) else None

    def promised(shape: tuple[int, int]) -> float:
        used = panels.used(found.out_columns, shape[1] // parts * lanes)
        return promise(known, *shape, lanes if widened else 0) * used

    shapes.sort(key=promised, reverse=True)
    is_long = known is not None and known >= _MANY_ROWS
    wanted = reversed(_STRETCHES) if is_long else _STRETCHES
    stretches = dict.fromkeys(_divisor(depth, one) for one in wanted)
    visits = _VISITS if needed > 1 else (*_VISITS[1:], *_VISITS[:1])  # the cores share visits, there is but one panel
    return [
        (rows, count, visit, stretch, lanes)
        for (stretch, visit), (rows, count) in combinations(combinations(stretches, visits), shapes)
    ]


def packed_shape(found: RowProduct, tile: RowTile) -> tuple[int, int, int]:
    """The constant as the kernel reads it: panels of columns, each step after step of the reduction."""
    return (panels.count(found.out_columns, tile.width // found.parts), found.depth, tile.width)


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
            count, depth, width = packed_shape(found, tile)
            with T.parallel(0, count) as panel, T.serial(0, depth) as k, T.serial(0, width) as j:
                column = panels.column(panel, j, width, found.out_columns, found.parts)
                store(packed, plain[k, column], panel, k, j)
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
        count = packed_shape(self.found, self.tile)[0]
        rows = self.buffers[-1].shape[0]
        if not self.tile.visit:
            with T.parallel(0, count) as panel:
                self._visit(panel, T.int64(0), rows)
            return
        visit = T.int64(self.tile.visit)
        of_panels, of_visits = (T.serial, T.parallel) if count == 1 else (T.parallel, T.serial)
        with of_panels(0, count) as panel, of_visits(0, (rows + visit - 1) // visit) as n:
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
            for most in _sizes(rows, tile.rows):
                with T.If(count == most), T.Then():
                    self.sum_up(most, panel, start, done)
            self._finish(panel, start, count, done)

    def _finish(self, panel: Any, start: Any, count: Any, done: Any) -> None:
        """Store what follows the sums of so many rows from ``start`` on: vector by vector, but of a panel that is not
        whole column by column."""
        tile, found, out = self.tile, self.found, self.buffers[-1]
        width = tile.width // found.parts
        whole, rest = divmod(found.out_columns, width)

        def finish(row: Any, column: Any) -> None:
            at = start + row, panel * width + column
            totals = [done[row, column + part * width if part else column] for part in range(found.parts)]
            store(out, found.follow(totals, *at, self.buffers), *at)

        of_part = tile.vectors // found.parts
        with _only(panel < whole, if_=rest), T.serial(0, count) as row, vectors(of_part, tile.lanes) as column:
            finish(row, column)
        if rest:
            with _only(panel == whole), T.serial(0, count) as row, T.serial(0, rest) as column:
                finish(row, column)

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
    def stretches(self, panel: Any, first: Any = 0, steps: int = 0) -> Iterator[Any]:
        """The loop over the reduction, or so many ``steps`` from the ``first`` on, which is a whole number of
        stretches; with requests for what comes next. Its step."""
        steps = steps or self.steps
        stretch = self.tile.stretch or steps
        with T.serial(0, steps // stretch) as part:
            begin = first + part * stretch
            if self.tile.stretch and self.packed:
                self._ask(panel, begin)
            with T.serial(0, stretch) as step:
                yield begin + step

    def _constant(self, panel: Any, k: Any, column: Any) -> Any:
        constant = self.buffers[self.found.constant]
        if self.packed:
            return constant[panel, k, column]
        return constant[k, panels.column(panel, column, self.tile.width, self.found.out_columns, self.found.parts)]

    def _ask(self, panel: Any, begin: Any) -> None:
        """Request what is read behind the stretch that begins here, of the next panel at the end of this one: the
        beginning of the next stretch, or all of one further ahead."""
        constant = self.buffers[self.found.constant]
        numbers = _LINE_BYTES * 8 // tvm.DataType(str(constant.dtype)).bits  # of a line
        lines = self.tile.stretch * self.tile.width // numbers
        ahead, asked = (_FAR, lines) if lines <= _FEW_LINES else (1, _ASKED)
        for line in range(asked):  # addresses are linear: they may lie past the row's end, and past the panel's
            T.evaluate(request(constant[panel, begin + ahead * self.tile.stretch, line * numbers]))


@contextmanager
def _only(condition: Any, if_: Any = True) -> Iterator[None]:
    """Emit what is within for this condition alone, ``if_`` it may be false."""
    if not if_:
        yield
        return
    with T.If(condition), T.Then():
        yield


def _sizes(rows: Any, most: int) -> list[int]:
    """The sizes that a block of at most ``most`` rows may have: one or two, where the number of rows is known."""
    if not isinstance(rows, tirx.IntImm):
        return list(range(most, 0, -1))
    blocks = -(-int(rows) // most)
    return sorted({int(rows) // blocks, -(-int(rows) // blocks)}, reverse=True)


def _divisor(depth: int, wanted: int) -> int:
    """The divisor of the depth nearest to what is wanted; 0 stays 0."""
    if not wanted:
        return 0
    return min((n for n in range(1, depth) if depth % n == 0), key=lambda n: abs(n - wanted), default=0)
