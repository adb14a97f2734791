"""A product's constant in the form that its kernel at a lower precision reads: panels of columns, each step after step.

A lane holds a group of neighbours along the reduction. A panel of bytes has its columns' scales behind its steps, and
the scaled sums of the columns behind these.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import or_
from typing import Any

from tvm import tirx
from tvm.tirx.script import builder as T

from tuner.graph.attention_kernel import body
from tuner.kernels import panels
from tuner.kernels.dots import Dot
from tuner.kernels.emit import argument, kernel, store
from tuner.kernels.row_blocks import RowTile
from tuner.kernels.row_products import RowProduct
from tuner.kernels.row_rounding import LEAST_RANGE, MOST_WEIGHT, half_bits, pair

SCALES = 2  # numbers of each column behind a panel of bytes


def packed_shape(found: RowProduct, tile: RowTile, dot: Dot) -> tuple[int, int, int]:
    """The constant as the kernel reads it, in lanes of the instruction's."""
    more = SCALES * _lanes_of_a_float(dot.constant) if dot.precision == "int8" else 0
    return (found.columns // tile.width, found.depth // dot.group + more, tile.width)


def packer(found: RowProduct, tile: RowTile, dot: Dot) -> Any:
    """The PrimFunc that packs the constant ``(depth, columns)``, by any processor."""
    with kernel({}) as builder:
        plain = argument("plain", (found.depth, found.columns))
        packed = argument("packed", packed_shape(found, tile, dot), dot.constant)
        with body("pack", [plain], packed):
            pack(plain, packed, found, dot)
    return builder.get()


def pack(plain: Any, packed: Any, found: RowProduct, dot: Dot) -> None:
    """Emit the packing of one buffer into another, whose shape is ``packed_shape``."""
    count, _, width = (int(extent) for extent in packed.shape)
    steps = int(plain.shape[0]) // dot.group
    with T.parallel(0, count) as panel, T.serial(0, width) as j:
        column = T.bind(panels.column(panel, j, width, found.out_columns, found.parts))
        _PACK[dot.precision](plain, packed, steps, column, (panel, j))


def loaded_floats(packed: Any, panel: Any, steps: int, n: int, first: Any, lanes: int) -> Any:
    """The ``n``th numbers of ``lanes`` columns from ``first`` on, of those behind a panel's ``steps``."""
    lane = str(packed.dtype)
    wide = _lanes_of_a_float(lane)
    at = T.Ramp(first * wide, 1, lanes * wide)  # it may reach into the next row of the panel, which follows
    loaded = packed[panel, steps + n * wide, at]
    return tirx.reinterpret(f"float32x{lanes}", T.Cast(f"int32x{lanes}", loaded) if lane == "int64" else loaded)


def loaded_bytes(packed: Any, panel: Any, place: Any, group: int, first: Any, lanes: int) -> Any:
    """The constant's row ``place``, of ``lanes`` columns from ``first`` on: numbers of a byte, as int32."""
    lane, byte = packed[panel, place // group, T.Ramp(first, 1, lanes)], place % group
    if str(packed.dtype) == "int64":
        lane, byte = lane >> T.Broadcast(T.Cast("int64", byte // 4 * 32), lanes), byte % 4
    word = T.Cast(f"int32x{lanes}", lane)
    return (word << T.Broadcast(24 - byte * 8, lanes)) >> T.Broadcast(T.int32(24), lanes)


def _lanes_of_a_float(lane: str) -> int:
    """Lanes of this type that hold the bits of a float32."""
    return max(1, 32 // int(lane.removeprefix("int")))


def _whole(lane: str) -> str:
    """The type in which a lane's bits are put together."""
    return "int64" if lane == "int64" else "int32"


def _pack_bf16(plain: Any, packed: Any, steps: int, column: Any, place: tuple[Any, Any]) -> None:
    """A column, at its ``place``: panel and lane."""
    panel, j = place
    group, lane = int(plain.shape[0]) // steps, str(packed.dtype)
    with T.serial(0, steps) as k:
        pairs = [pair(*(plain[k * group + n + half, column] for half in range(2))) for n in range(0, group, 2)]
        words = [_shifted(word, 0xFFFFFFFF if lane == "int64" else -1, 32 * n, lane) for n, word in enumerate(pairs)]
        store(packed, reduce(or_, words), panel, k, j)


def _pack_halves(plain: Any, packed: Any, steps: int, column: Any, place: tuple[Any, Any]) -> None:
    panel, j = place
    with T.serial(0, steps) as k:
        store(packed, T.Cast(str(packed.dtype), half_bits(plain[k, column])), panel, k, j)


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
        lanes = [_shifted(byte, 255, 8 * n, _whole(lane)) for n, byte in enumerate(bytes_)]
        store(packed, T.Cast(lane, reduce(or_, lanes)), panel, k, j)
        store(total, total[0] + sum(bytes_), 0)
    scale = most[0] / T.float32(MOST_WEIGHT)
    for n, value in enumerate((scale, scale * T.Cast("float32", total[0]))):
        _store_float(packed, value, panel, steps, n, j)


def _shifted(bits: Any, mask: int, by: int, whole: str) -> Any:
    """The masked bits of an int32 where they belong in a lane."""
    return (T.Cast(whole, bits) & tirx.IntImm(whole, mask)) << tirx.IntImm(whole, by)


def _store_float(packed: Any, value: Any, panel: Any, steps: int, n: int, j: Any) -> None:
    """The bits of a column's ``n``th number behind the steps of its panel."""
    wide, lane = _lanes_of_a_float(str(packed.dtype)), str(packed.dtype)
    bits = tirx.reinterpret("int32", value)
    for part in range(wide):
        at = j * wide + part
        half = T.Cast(lane, bits >> (32 // wide * part))
        store(packed, half, panel, steps + n * wide + at // int(packed.shape[2]), at % int(packed.shape[2]))


_PACK: dict[str, Callable[..., None]] = {"bf16": _pack_bf16, "fp16": _pack_halves, "int8": _pack_bytes}


def _rounded(value: Any) -> Any:
    """To the nearest int32."""
    return T.Cast("int32", T.floor(value + T.float32(0.5)))
