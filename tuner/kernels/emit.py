"""What kernels that are written out whole are written with: loops over registers and vectors, and an exponential."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

_LOG2_E, _LN_2 = 1.4426950408889634, 0.6931471805599453
_LOWEST = -87.0  # its exponential is the smallest normal float32
_EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)


@contextmanager
def kernel(attributes: dict[str, Any]) -> Iterator[IRBuilder]:
    """A PrimFunc ``main`` whose body is emitted within; ``get`` of what is yielded gives it afterwards."""
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        T.func_name("main")
        T.func_attr({"global_symbol": "main", "tirx.noalias": True, **attributes})
        yield builder


def argument(name: str, shape: tuple[Any, ...], dtype: str = "float32") -> Any:
    """The next argument of the kernel."""
    return T.match_buffer(T.arg(name, T.handle()), shape, dtype)


def scratch(shape: tuple[int, ...]) -> Any:
    """Float32 memory of the enclosing loop's iteration: registers, where all its indices are known."""
    return T.alloc_buffer(shape, "float32")


@contextmanager
def vectors(count: int, lanes: int) -> Iterator[Any]:
    """``count`` vectors of so many lanes, unrolled; the index of an element."""
    with T.unroll(0, count) as vector, T.vectorized(0, lanes) as lane:
        yield vector * lanes + lane


@contextmanager
def block(rows: int, count: int, lanes: int) -> Iterator[tuple[Any, Any]]:
    """A block of registers, unrolled; row and column of an element."""
    with T.unroll(0, rows) as row, vectors(count, lanes) as column:
        yield row, column


def store(buffer: Any, value: Any, *at: Any) -> None:
    """``buffer[at] = value``."""
    T.buffer_store(buffer, value, list(at))


def fold(buffer: Any, lanes: int, combine: Callable[[Any, Any], Any]) -> None:
    """Combine the elements of a vector into its first one, half by half."""
    while lanes := lanes // 2:
        with T.vectorized(0, lanes) as lane:
            store(buffer, combine(buffer[lane], buffer[lane + lanes]), lane)


def exponential(x: Any) -> Any:
    """``exp(x)`` of a float32 x that is not positive, in what vectorises: Cephes' polynomial, as ``topi.fast_exp``."""
    x = T.max(x, T.float32(_LOWEST))
    power = T.floor(x * T.float32(_LOG2_E) + T.float32(0.5))
    rest = x - power * T.float32(_LN_2)
    series = T.float32(_EXP[0])
    for factor in _EXP[1:]:
        series = series * rest + T.float32(factor)
    series = series * rest * rest + rest + T.float32(1.0)
    return series * tirx.reinterpret("float32", (T.cast(power, "int32") + 127) << 23)
