"""Rows of a product's left operand, rounded where the kernel begins: to bf16, to halves, or to numbers in a range of
their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx
from tvm.tirx.script import builder as T

from tuner.kernels.dots import Dot
from tuner.kernels.emit import fold, store

MOST_WEIGHT = 127  # of a constant's bytes
LEAST_RANGE = 1e-20  # of a row whose values are all alike
_MOST_SUM = 2**31 - 1
_NONE = 3.4e38


def pair(low: Any, high: Any) -> Any:
    """Two float32 as bf16 in one int32."""
    return _to_bf16(low) | (_to_bf16(high) << 16)


def _to_bf16(value: Any) -> Any:
    """The upper half of a float32, rounded to nearest even, as an int32."""
    bits = tirx.reinterpret("uint32", value)
    bits = (bits + T.uint32(0x7FFF) + ((bits >> T.uint32(16)) & T.uint32(1))) >> T.uint32(16)
    return T.Cast("int32", bits)


def _round_to_bf16(plain: Any, rounded: Any, _: tuple[Any, Any], row: Any, depth: int, dot: Dot) -> None:
    lanes = dot.lanes
    with T.serial(0, depth // (2 * lanes)) as n:
        if dot.convert:
            first, second = (plain[row, T.Ramp((n * 2 + half) * lanes, 1, lanes)] for half in range(2))
            value = T.call_extern(f"int32x{lanes}", dot.convert, first, second)
            store(rounded, value, row, T.Ramp(n * lanes, 1, lanes))
        else:
            with T.vectorized(0, lanes) as lane:
                both = pair(*(plain[row, (n * lanes + lane) * 2 + half] for half in range(2)))
                store(rounded, both, row, n * lanes + lane)


def _round_to_halves(plain: Any, rounded: Any, _: tuple[Any, Any], row: Any, depth: int, dot: Dot) -> None:
    with T.serial(0, depth // dot.lanes) as n, T.vectorized(0, dot.lanes) as lane:
        at = row, n * dot.lanes + lane
        store(rounded, T.Cast("float16", plain[at]), *at)


def half_bits(value: Any) -> Any:
    """The bits of the half that is nearest to a float32, of two the even one, as an int32; by arithmetic on integers,
    which any processor has (F. Giesen, "Float->half conversion", 2012)."""
    bits = tirx.reinterpret("uint32", value)
    sign = bits & T.uint32(0x80000000)
    size = bits ^ sign
    normal = (size + T.uint32(0xC8000FFF) + ((size >> T.uint32(13)) & T.uint32(1))) >> T.uint32(13)
    tiny = tirx.reinterpret("uint32", tirx.reinterpret("float32", size) + T.float32(0.5)) - T.uint32(0x3F000000)
    finite = tirx.Select(size < T.uint32(0x38800000), tiny, normal)
    return T.Cast("int32", tirx.Select(size < T.uint32(0x47800000), finite, T.uint32(0x7C00)) | (sign >> T.uint32(16)))


def _round_to_bytes(plain: Any, rounded: Any, kept: tuple[Any, Any], row: Any, depth: int, dot: Dot) -> None:
    """``x = scale * number + offset`` of a row: both in the first of what is ``kept``, and behind them what its outlier
    exceeds the range by, whose place is in the second.

    The range is of all values but one, the largest or the least, whichever widens it more: trained encoders have
    features far beyond all others, next to which a byte's steps would be too coarse (Dettmers et al., LLM.int8, 2022).
    """
    ranges, places = kept
    lanes = dot.lanes
    highest, lowest = _Two(T.max, T.min, lanes), _Two(T.min, T.max, lanes)
    for two in (highest, lowest):
        two.begin(plain, row)
    with T.serial(1, depth // lanes) as n, T.vectorized(0, lanes) as lane:
        for two in (highest, lowest):
            two.add(plain[row, n * lanes + lane], lane)
    for two in (highest, lowest):
        two.fold()
    above, below = T.bind(highest.first[0] - highest.second[0]), T.bind(lowest.second[0] - lowest.first[0])
    is_high = T.bind(above > below)
    least = T.bind(tirx.Select(is_high, lowest.first[0], lowest.second[0]))
    most = T.bind(tirx.Select(is_high, highest.second[0], highest.first[0]))
    outlier = T.bind(tirx.Select(is_high, highest.first[0], lowest.first[0]))
    largest, shift = steps_of_a_row(depth, dot)
    scale = T.bind(T.max(most - least, T.float32(LEAST_RANGE)) * T.float32(1.0 / largest))
    back = T.bind(T.float32(1.0) / scale)
    at = T.alloc_buffer((lanes,), "int32")
    with T.vectorized(0, lanes) as lane:
        store(at, T.int32(0), lane)
    with T.serial(0, depth // lanes) as n, T.vectorized(0, lanes) as lane:
        value, place = plain[row, n * lanes + lane], n * lanes + lane
        steps = T.min(T.max((value - least) * back + T.float32(0.5), T.float32(0.0)), T.float32(largest))
        store(rounded, T.Cast(dot.left, T.Cast("int32", steps) - shift), row, place)
        store(at, tirx.Select(value == outlier, T.Cast("int32", place), at[lane]), lane)
    fold(at, lanes, T.max)
    store(ranges, scale, row, 0)
    store(ranges, least + scale * T.float32(shift), row, 1)
    store(ranges, tirx.Select(is_high, above, -below), row, 2)
    store(places, at[0], row)


class _Two:
    """The two outermost of a row's values: ``first`` and ``second`` by ``outer``, which is a maximum or a minimum."""

    def __init__(self, outer: Callable[[Any, Any], Any], inner: Callable[[Any, Any], Any], lanes: int) -> None:
        self._outer, self._inner, self._lanes = outer, inner, lanes
        self.first, self.second = T.alloc_buffer((lanes,), "float32"), T.alloc_buffer((lanes,), "float32")

    def begin(self, plain: Any, row: Any) -> None:
        """With a row's first vector; no second is known that is further in than the largest number."""
        none = T.float32(_NONE) if self._outer is T.min else T.float32(-_NONE)
        with T.vectorized(0, self._lanes) as lane:
            store(self.first, plain[row, lane], lane)
            store(self.second, none, lane)

    def add(self, value: Any, lane: Any) -> None:
        """Another value."""
        store(self.second, self._outer(self.second[lane], self._inner(self.first[lane], value)), lane)
        store(self.first, self._outer(self.first[lane], value), lane)

    def fold(self) -> None:
        """Bring those of all lanes to the first one."""
        lanes = self._lanes
        while lanes := lanes // 2:
            with T.vectorized(0, lanes) as lane:
                inner = self._inner(self.first[lane], self.first[lane + lanes])
                store(self.second, self._outer(self._outer(self.second[lane], self.second[lane + lanes]), inner), lane)
                store(self.first, self._outer(self.first[lane], self.first[lane + lanes]), lane)


def steps_of_a_row(depth: int, dot: Dot) -> tuple[int, int]:
    """The largest number that a row's values are rounded to, from 0 on, and what is taken off it to fit its type."""
    if dot.left == "int16":
        return min(2**15 - 1, _MOST_SUM // (MOST_WEIGHT * depth)), 0
    return 255, 128 if dot.left == "int8" else 0


ROUND: dict[str, Callable[..., None]] = {
    "bfloat16": _round_to_bf16,
    "float16": _round_to_halves,
    **dict.fromkeys(("uint8", "int8", "int16"), _round_to_bytes),
}
