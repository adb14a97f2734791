"""What kernels for Apple GPUs are written out with: simdgroup matrices, and threadgroup memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tvm.tirx.script import builder as T

from tuner.kernels.emit import store
from tuner.kernels.simdgroup_tiles import SIDE


@contextmanager
def where(condition: Any, is_needed: bool) -> Iterator[None]:
    """Only where the condition holds, if that is a question at all."""
    if not is_needed:
        yield
        return
    with T.If(condition), T.Then():
        yield


def wait() -> None:
    """Until all threads of the group are here, and see what the others wrote."""
    T.evaluate(T.tvm_storage_sync("shared"))


def combine(values: Any, n: Any, lane: Any, sharing: int, how: Callable[[Any, Any], Any]) -> None:
    """The ``n``-th of each lane's values becomes what all lanes that share something have of it: so many neighbours."""
    distance = sharing
    while distance := distance // 2:
        other = T.metal.simd_shuffle(values[n], T.bitwise_xor(lane, distance))
        store(values, how(values[n], other), n)


def matrices(count: int, dtype: str = "float32") -> Any:
    """So many 8x8 matrices of a simdgroup."""
    return T.alloc_buffer((count * SIDE, SIDE), dtype, scope="metal.simdgroup")


def _pointer(memory: Any, row: Any, column: Any, access: str) -> Any:
    """To a matrix in threadgroup memory."""
    (stride,) = memory.shape[1:]
    return memory.access_ptr(
        access, ptr_type=memory.dtype, offset=row * stride + column, extent=(SIDE - 1) * stride + SIDE
    )


def load(matrices: Any, n: Any, memory: Any, row: Any, column: Any, transposed: bool = False) -> None:
    """The ``n``-th of some matrices from threadgroup memory."""
    pointer = _pointer(memory, row, column, "r")
    T.evaluate(
        T.metal.simdgroup_load(matrices.data, n, pointer, memory.shape[1], SIDE, SIDE, transpose_matrix=transposed)
    )


def leave(matrices: Any, n: Any, memory: Any, row: Any, column: Any) -> None:
    """The same, back."""
    T.evaluate(
        T.metal.simdgroup_store(matrices.data, n, _pointer(memory, row, column, "w"), memory.shape[1], SIDE, SIDE)
    )


def clear(matrices: Any, n: Any) -> None:
    """A matrix of zeros."""
    T.evaluate(T.metal.make_filled_simdgroup_matrix(matrices.data, n, T.float32(0), SIDE, SIDE))


def multiply(to: Any, t: Any, left: Any, a: Any, right: Any, b: Any, added: Any, c: Any) -> None:
    """``to = left * right + added``, one matrix each."""
    T.evaluate(T.metal.simdgroup_multiply_accumulate(to.data, t, left.data, a, right.data, b, added.data, c))
