"""Products at a lower precision: blocks of rows as ``row_blocks.py`` makes them, summed up by dot instructions.

The left operand is rounded row by row at the kernel's beginning, each row once: to bf16, or to bytes whose range is the
row's own (``x = scale * byte + offset``: what a row's largest and least values are is known only when it runs), but for
one outlier, which is added apart. The
constant is packed in groups of neighbours along the reduction, to bytes with a scale for each column. Where an
instruction takes 16 bits, a row has more steps than bytes have: as many as no sum of 32 bits overflows by. Sums are of
32 bits; what follows the product is computed on float32 as ever.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

from tvm import tirx
from tvm.tirx.script import builder as T

from tuner.graph.attention_kernel import body
from tuner.kernels import row_blocks
from tuner.kernels.dots import Dot
from tuner.kernels.emit import argument, kernel, store
from tuner.kernels.row_blocks import Emitter, RowTile
from tuner.kernels.row_products import RowProduct
from tuner.kernels.row_rounding import LEAST_RANGE, MOST_WEIGHT, ROUND, pair

_SCALES = 2  # rows that a panel of bytes has more: its columns' scales, and scaled sums


@dataclass(frozen=True)
class DotTile(RowTile):
    """A tile whose steps each take a group of the reduction."""


def tiles(found: RowProduct, dot: Dot) -> list[DotTile]:
    """All tiles that fit a core's registers and divide the columns, most promising first."""
    if found.depth % (dot.group * dot.lanes) or found.columns % dot.lanes:
        return []
    steps = found.depth // dot.group
    return [DotTile(*fields) for fields in row_blocks.blocks(found.columns, steps, dot.lanes, dot.registers)]


def packed_shape(found: RowProduct, tile: RowTile, dot: Dot) -> tuple[int, int, int]:
    """The constant as the kernel reads it, in lanes of the instruction's."""
    more = _SCALES * _lanes_of_a_float(dot.constant) if dot.precision == "int8" else 0
    return (found.columns // tile.width, found.depth // dot.group + more, tile.width)


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
                _pack(plain, buffers[found.constant], dot)
            rows = buffers[-1].shape[0]
            if dot.precision == "bf16":
                left = T.alloc_buffer((rows, found.depth // dot.group), "int32")
            else:
                left = T.alloc_buffer((rows, found.depth), dot.left)
            ranges, places = T.alloc_buffer((rows, 3), "float32"), T.alloc_buffer((rows,), "int32")
            with T.parallel(0, rows) as row:
                ROUND[dot.precision](buffers[found.left], left, (ranges, places), row, found.depth, dot)
            _DotEmitter(found, tile, buffers, True, dot, left, ranges, places).run()
    return builder.get()


def packer(found: RowProduct, tile: RowTile, dot: Dot) -> Any:
    """The PrimFunc that packs the constant ``(depth, columns)``, by any processor."""
    with kernel({}) as builder:
        plain = argument("plain", (found.depth, found.columns))
        packed = argument("packed", packed_shape(found, tile, dot), dot.constant)
        with body("pack", [plain], packed):
            _pack(plain, packed, dot)
    return builder.get()


def _pack(plain: Any, packed: Any, dot: Dot) -> None:
    panels, _, width = (int(extent) for extent in packed.shape)
    steps = int(plain.shape[0]) // dot.group
    with T.parallel(0, panels) as panel, T.serial(0, width) as j:
        column = T.bind(panel * width + j)
        _PACK[dot.precision](plain, packed, steps, column, (panel, j))


def _lanes_of_a_float(lane: str) -> int:
    """Lanes of this type that hold the bits of a float32."""
    return 32 // int(lane.removeprefix("int"))


def _pack_bf16(plain: Any, packed: Any, steps: int, column: Any, place: tuple[Any, Any]) -> None:
    """A column, at its ``place``: panel and lane."""
    panel, j = place
    with T.serial(0, steps) as k:
        store(packed, pair(*(plain[k * 2 + n, column] for n in range(2))), panel, k, j)


def _pack_bytes(plain: Any, packed: Any, steps: int, column: Any, place: tuple[Any, Any]) -> None:
    """The same, with its scale and its scaled sum behind it."""
    panel, j = place
    group, lane = int(plain.shape[0]) // steps, str(packed.dtype)
    most, total = T.alloc_buffer((1,), "float32"), T.alloc_buffer((1,), "int32")
    store(most, T.float32(LEAST_RANGE), 0)
    store(total, T.int32(0), 0)
    with T.serial(0, steps * group) as k:
        value = plain[k, column]
        store(most, T.max(most[0], T.max(value, -value)), 0)
    with T.serial(0, steps) as k:
        bytes_ = [_rounded(plain[k * group + n, column] * (T.float32(MOST_WEIGHT) / most[0])) for n in range(group)]
        lanes = [(byte & 255) << (8 * n) for n, byte in enumerate(bytes_)]
        store(packed, T.Cast(lane, reduce(or_, lanes)), panel, k, j)
        store(total, total[0] + sum(bytes_), 0)
    scale = most[0] / T.float32(MOST_WEIGHT)
    for n, value in enumerate((scale, scale * T.Cast("float32", total[0]))):
        _store_float(packed, value, panel, steps, n, j)


def _store_float(packed: Any, value: Any, panel: Any, steps: int, n: int, j: Any) -> None:
    """The bits of a column's ``n``th number behind the steps of its panel."""
    wide, lane = _lanes_of_a_float(str(packed.dtype)), str(packed.dtype)
    bits = tirx.reinterpret("int32", value)
    for part in range(wide):
        at = j * wide + part
        half = T.Cast(lane, bits >> (32 // wide * part))
        store(packed, half, panel, steps + n * wide + at // int(packed.shape[2]), at % int(packed.shape[2]))


def _loaded_floats(packed: Any, panel: Any, steps: int, n: int, first: Any, lanes: int) -> Any:
    """The ``n``th numbers of ``lanes`` columns from ``first`` on."""
    wide = _lanes_of_a_float(str(packed.dtype))
    at = T.Ramp(first * wide, 1, lanes * wide)  # it may reach into the next row of the panel, which follows
    return tirx.reinterpret(f"float32x{lanes}", packed[panel, steps + n * wide, at])


_PACK: dict[str, Callable[..., None]] = {"bf16": _pack_bf16, "int8": _pack_bytes}


def _rounded(value: Any) -> Any:
    """To the nearest int32."""
    return T.Cast("int32", T.floor(value + T.float32(0.5)))


@dataclass(frozen=True)
class _DotEmitter(Emitter):
    dot: Dot
    left: Any
    ranges: Any
    places: Any

    @property
    def steps(self) -> int:
        return self.found.depth // self.dot.group

    def sum_up(self, rows: int, panel: Any, start: Any, done: Any) -> None:
        dot, lanes = self.dot, self.tile.lanes
        constant = self.buffers[self.found.constant]
        whole = T.Ramp(0, 1, lanes)
        sums = self.registers(rows, dot.sums)
        with self.stretches(panel) as k:
            for row, vector, column in self.block(rows):
                left = T.Broadcast(self._lane(start + row, k), lanes)
                weights = constant[panel, k, T.Ramp(column, 1, lanes)]
                added = T.call_extern(f"{dot.sums}x{lanes}", dot.name, sums[vector][row, whole], left, weights)
                store(sums[vector], added, row, whole)
        for row, vector, column in self.block(rows):
            total = self._scaled(sums[vector][row, whole], panel, start + row, column)
            store(done, total, row, T.Ramp(column, 1, lanes))

    def _scaled(self, total: Any, panel: Any, row: Any, column: int) -> Any:
        """A vector of sums, from a panel's ``column`` on, as float32."""
        dot, lanes = self.dot, self.tile.lanes
        if dot.precision != "int8":
            return total
        constant = self.buffers[self.found.constant]
        scale, summed = (_loaded_floats(constant, panel, self.steps, n, column, lanes) for n in range(_SCALES))
        of_row, offset, excess = (T.Broadcast(self.ranges[row, n], lanes) for n in range(3))
        weights = self._weights(self.places[row], panel, T.Ramp(column, 1, lanes))
        outlier = excess * T.Cast(f"float32x{lanes}", weights)
        return (T.Cast(f"float32x{lanes}", total) * of_row + outlier) * scale + offset * summed

    def _weights(self, place: Any, panel: Any, at: Any) -> Any:
        """A row of the constant, as it is packed: numbers of a byte, as int32."""
        dot, lanes = self.dot, self.tile.lanes
        lane = T.Cast(f"int32x{lanes}", self.buffers[self.found.constant][panel, place // dot.group, at])
        return (lane << T.Broadcast(24 - place % dot.group * 8, lanes)) >> T.Broadcast(T.int32(24), lanes)

    def _lane(self, row: Any, k: Any) -> Any:
        """A group of the left operand, as an int32."""
        if self.dot.precision == "bf16":
            return self.left[row, k]
        return tirx.reinterpret("int32", self.left[row, T.Ramp(k * self.dot.group, 1, self.dot.group)])
