"""Products at a lower precision: blocks of rows as ``row_blocks.py`` makes them, summed up by dot instructions.

The left operand is rounded row by row at the kernel's beginning, each row once: to bf16, to halves, or to bytes whose
range is the row's own (``x = scale * byte + offset``: what a row's largest and least values are is known only when it
runs), but for one outlier, which is added apart. The constant is packed in groups of neighbours along the reduction
(``dot_packing.py``), to bytes with a scale for each column. Where an instruction takes 16 bits, a row has more steps
than bytes have: as many as no sum of 32 bits overflows by. Sums are of 32 bits, those of halves go on in float32
after some steps; what follows the product is computed on float32 as ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product as combinations
from typing import Any

from tvm import tirx
from tvm.tirx.script import builder as T

from tuner.graph.attention_kernel import body
from tuner.kernels import row_blocks
from tuner.kernels.dot_packing import SCALES, loaded_bytes, loaded_floats, pack, packed_shape
from tuner.kernels.dots import Dot
from tuner.kernels.emit import kernel, store
from tuner.kernels.row_blocks import Emitter, RowTile
from tuner.kernels.row_products import RowProduct
from tuner.kernels.row_rounding import ROUND


@dataclass(frozen=True)
class DotTile(RowTile):
    """A tile whose steps each take a group of the reduction."""


@dataclass(frozen=True)
class MatrixTile(DotTile):
    """The same, by an instruction that takes two rows and two columns: ``rows`` is even."""


def tiles(found: RowProduct, dot: Dot) -> list[DotTile]:
    """All tiles that fit a core's registers and divide the columns, most promising first."""
    if found.depth % (dot.group * dot.lanes) or found.out_columns % dot.lanes:
        return []
    kind, steps = MatrixTile if dot.rows > 1 else DotTile, found.depth // dot.group
    blocks = row_blocks.blocks(found, steps, dot.lanes, dot.registers, dot.rows, dot.widens)
    return [kind(*fields) for fields in blocks]


def write(mod: Any, found: RowProduct, tile: RowTile, dot: Dot, packed: bool = True) -> Any:
    """The kernel, a PrimFunc with the arguments of ``mod``'s function, its constant packed for the tile; not
    ``packed``: as the function takes it, packed by the kernel itself, to look at its outputs."""
    known = {name: value for name, value in mod["main"].attrs.items() if name == "layout_free_buffers"}
    shape = packed_shape(found, tile, dot)
    with kernel(known) as builder:
        buffers = row_blocks.arguments(found, (shape, dot.constant) if packed else None)
        with body("product", buffers[:-1], buffers[-1]), T.attr(T.int32(0), "pragma_import_llvm", dot.text):
            if not packed:
                plain = buffers[found.constant]
                buffers[found.constant] = T.alloc_buffer(shape, dot.constant)
                pack(plain, buffers[found.constant], found, dot)
            emitter(found, tile, buffers, dot, _rounded_rows(found, buffers, dot)).run()
    return builder.get()


def emitter(found: RowProduct, tile: RowTile, buffers: list[Any], dot: Dot, rows: tuple[Any, Any, Any]) -> DotEmitter:
    """What writes a kernel's body, its constant packed; ``rows`` are the left operand as the instruction takes it and,
    of bytes, each row's range and the place of its outlier."""
    return (_MatrixEmitter if dot.rows > 1 else DotEmitter)(found, tile, buffers, True, dot, *rows)


def rounded_shape(depth: int, dot: Dot) -> tuple[str, int]:
    """Type and numbers of a row of the left operand as the instruction takes it."""
    return ("int32", depth // 2) if dot.left == "bfloat16" else (dot.left, depth)  # bf16 lie in pairs


def _rounded_rows(found: RowProduct, buffers: list[Any], dot: Dot) -> tuple[Any, Any, Any]:
    """What ``emitter`` wants of the left operand, which it is rounded to."""
    plain, rows = buffers[found.left], buffers[-1].shape[0]
    dtype, width = rounded_shape(found.depth, dot)
    left = T.alloc_buffer((rows, width), dtype)
    ranges, places = T.alloc_buffer((rows, 3), "float32"), T.alloc_buffer((rows,), "int32")
    with T.parallel(0, rows) as row:
        ROUND[dot.left](plain, left, (ranges, places), row, found.depth, dot)
    return left, ranges, places


@dataclass(frozen=True)
class DotEmitter(Emitter):
    """Writes the kernel's body, by an instruction that takes a row at a time."""

    dot: Dot
    left: Any
    ranges: Any
    places: Any

    @property
    def steps(self) -> int:
        return self.found.depth // self.dot.group

    def sum_up(self, rows: int, panel: Any, start: Any, done: Any) -> None:
        if self.dot.most_steps:
            self._sum_up_by_parts(rows, panel, start, done)
            return
        sums = self.registers(rows + rows % self.dot.rows, self.dot.sums)
        with self.stretches(panel) as k:
            self.add(sums, rows, panel, start, k)
        for row, column, total in self._totals(sums, rows):
            scaled = self._scaled(total, panel, start + T.min(row, rows - 1), column)
            store(done, scaled, row, T.Ramp(column, 1, self.tile.lanes))

    def _sum_up_by_parts(self, rows: int, panel: Any, start: Any, done: Any) -> None:
        """The same, sums of 16 bits going on in float32 after each part."""
        lanes = self.tile.lanes
        steps = part_of(self.steps, self.tile.stretch or 1, self.dot.most_steps)
        for row, _, column in self.block(rows):
            store(done, T.Broadcast(T.float32(0.0), lanes), row, T.Ramp(column, 1, lanes))
        with T.serial(0, self.steps // steps) as part:
            sums = self.registers(rows, self.dot.sums)
            with self.stretches(panel, part * steps, steps) as k:
                self.add(sums, rows, panel, start, k)
            for row, column, total in self._totals(sums, rows):
                at = row, T.Ramp(column, 1, lanes)
                store(done, done[at] + T.Cast(f"float32x{lanes}", total), *at)

    def add(self, sums: list[Any], rows: int, panel: Any, start: Any, k: Any) -> None:
        """Emit a step's products, to all sums of a block of rows from ``start`` on."""
        dot, lanes = self.dot, self.tile.lanes
        constant, whole = self.buffers[self.found.constant], T.Ramp(0, 1, lanes)
        for row, vector, column in self.block(rows):
            left = T.Broadcast(self._lane(start + row, k), lanes)
            weights = constant[panel, k, T.Ramp(column, 1, lanes)]
            added = T.call_extern(f"{dot.sums}x{lanes}", dot.name, sums[vector][row, whole], left, weights)
            store(sums[vector], added, row, whole)

    def _totals(self, sums: list[Any], rows: int) -> Iterator[tuple[Any, int, Any]]:
        """Row, first column and sums of each vector of a block."""
        for row, vector, column in self.block(rows):
            yield row, column, sums[vector][row, T.Ramp(0, 1, self.tile.lanes)]

    def _scaled(self, total: Any, panel: Any, row: Any, column: int) -> Any:
        """A vector of sums, from a panel's ``column`` on, as float32."""
        dot, lanes = self.dot, self.tile.lanes
        if dot.precision != "int8":
            return total
        constant = self.buffers[self.found.constant]
        scale, summed = (loaded_floats(constant, panel, self.steps, n, column, lanes) for n in range(SCALES))
        of_row, offset, excess = (T.Broadcast(self.ranges[row, n], lanes) for n in range(3))
        weights = loaded_bytes(constant, panel, self.places[row], dot.group, column, lanes)
        outlier = excess * T.Cast(f"float32x{lanes}", weights)
        return (T.Cast(f"float32x{lanes}", total) * of_row + outlier) * scale + offset * summed

    def _lane(self, row: Any, k: Any) -> Any:
        """A group of the left operand, as the instruction takes it."""
        group = self.dot.group
        if self.dot.left in ("bfloat16", "float16"):
            return self.left[row, k]
        return tirx.reinterpret("int32", self.left[row, T.Ramp(k * group, 1, group)])


class _MatrixEmitter(DotEmitter):
    """Of rows in twos, the last of an odd number by itself, twice. A vector of four columns in two rows is two
    registers, each of which holds both rows of two columns."""

    def add(self, sums: list[Any], rows: int, panel: Any, start: Any, k: Any) -> None:
        dot, lanes = self.dot, self.tile.lanes
        constant, whole = self.buffers[self.found.constant], T.Ramp(0, 1, lanes)
        with T.unroll(0, (rows + 1) // 2) as two:
            left = [self._group(start + T.min(two * 2 + n, rows - 1), k) for n in range(2)]
            for vector, half in combinations(range(self.tile.vectors), range(2)):
                weights = constant[panel, k, T.Ramp(vector * lanes + half * 2, 1, 2)]
                at = two * 2 + half, whole
                added = T.call_extern(f"{dot.sums}x{lanes}", dot.name, sums[vector][at], *left, weights)
                store(sums[vector], added, *at)

    def _totals(self, sums: list[Any], rows: int) -> Iterator[tuple[Any, int, Any]]:
        whole = T.Ramp(0, 1, self.tile.lanes)
        with T.unroll(0, (rows + 1) // 2) as two:
            for vector in range(self.tile.vectors):
                both = [sums[vector][two * 2 + half, whole] for half in range(2)]
                for n, lanes in enumerate(([0, 1, 4, 5], [2, 3, 6, 7])):
                    yield two * 2 + n, vector * self.tile.lanes, tirx.Shuffle(both, lanes)

    def _group(self, row: Any, k: Any) -> Any:
        """Of the left operand, 64 bits."""
        count = 2 if self.dot.left == "bfloat16" else self.dot.group  # of the buffer's numbers: bf16 lie in pairs
        return tirx.reinterpret("int64", self.left[row, T.Ramp(k * count, 1, count)])


def part_of(steps: int, stretch: int, most: int) -> int:
    """The largest part of so many steps that is whole stretches and at most ``most``, if a stretch is."""
    return max(n for n in range(stretch, max(stretch, most) + 1, stretch) if steps % n == 0)
