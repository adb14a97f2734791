"""Products of rows with a constant by the library of linear algebra that a target brings, and what follows by vectors.

Apple's Accelerate computes them on a matrix unit that no code of a compiler reaches. It is called once, by one thread,
and spreads its work itself; it packs what it wants packed, so the constant stays as the model has it. What follows the
product is computed where the sums lie, by all cores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.tirx.script import builder as T

from tuner.graph.attention_kernel import body
from tuner.kernels.emit import kernel, store
from tuner.kernels.row_blocks import arguments
from tuner.kernels.row_products import RowProduct, find
from tuner.kernels.tiles import Cpu
from tuner.lengths import NOMINAL
from tuner.targets.blas import Blas, blas_of

_ROW_MAJOR, _AS_IT_IS = 101, 111  # of CBLAS: how matrices lie, and that none is transposed
_LANES = 16
_NEON_REACHES = 0.85  # of what the cores can begin, by tiles
_CALL_CYCLES = 20_000.0  # to wake the library's threads
_BYTES_PER_CYCLE = 32.0  # of sums that are read and written once more


@dataclass(frozen=True)
class BlasCall:
    """A product by one call of a ``routine``."""

    routine: str = "cblas_sgemm"


def product_of(mod: Any, target: Any) -> RowProduct | None:
    """The product in a module's function, if the target declares a library that computes it."""
    if blas_of(target.export()) is None or (found := find(mod)) is None:
        return None
    return found if found.is_float32 else None


def is_quicker(found: RowProduct, cpu: Cpu, target: Any) -> bool:
    """Is the library likely to take less time than tiles? Where rows are not known, for one text.

    In cycles of the cores: its speed against theirs, the call, and the sums that are looked at once more.
    """
    library: Blas | None = blas_of(target.export())
    if library is None or library.flops_per_cycle is None:
        return False
    of_text = {"tokens": NOMINAL}
    rows = int(found.rows) if isinstance(found.rows, tirx.IntImm) else of_text.get(str(found.rows), 1)
    flops = 2.0 * rows * found.depth * found.columns
    by_tiles = flops / (2.0 * cpu.core.fma_lanes * cpu.cores * _NEON_REACHES)
    again = 4 * rows * (found.columns + found.out_columns) / _BYTES_PER_CYCLE
    return flops / library.flops_per_cycle + again + _CALL_CYCLES < by_tiles


def write(mod: Any, found: RowProduct, call: BlasCall) -> Any:
    """The kernel, a PrimFunc with the arguments of ``mod``'s function."""
    known = {name: value for name, value in mod["main"].attrs.items() if name == "layout_free_buffers"}
    with kernel(known) as builder:
        buffers = arguments(found, None)
        with body("product", buffers[:-1], buffers[-1]):
            _emit(found, buffers, call.routine)
    return builder.get()


def _emit(found: RowProduct, buffers: list[Any], routine: str) -> None:
    left, constant, out = buffers[found.left], buffers[found.constant], buffers[-1]
    rows, width = out.shape[0], found.out_columns
    sums = out if found.parts == 1 else T.alloc_buffer((rows, found.columns), "float32")
    whole = (_ROW_MAJOR, _AS_IT_IS, _AS_IT_IS, T.cast(rows, "int32"), found.columns, found.depth)
    operands = (_at(left), found.depth, _at(constant), found.columns)
    T.evaluate(tirx.call_extern("int32", routine, *whole, _one(), *operands, _zero(), _at(sums), found.columns))
    if found.parts == 1 and not _follows(found, buffers):
        return
    lanes = next(n for n in (_LANES, 8, 4, 2, 1) if width % n == 0)
    with T.parallel(0, rows) as row, T.serial(0, width // lanes) as n, T.vectorized(0, lanes) as lane:
        column = n * lanes + lane
        totals = [sums[row, column + part * width if part else column] for part in range(found.parts)]
        store(out, found.follow(totals, row, column, buffers), row, column)


def _follows(found: RowProduct, buffers: list[Any]) -> bool:
    """Is anything computed of the sums?"""
    total = tirx.Var("total", "float32")
    value = found.follow([total], tirx.Var("row", "int64"), tirx.Var("column", "int64"), buffers)
    return not (isinstance(value, tirx.Var) and value.same_as(total))


def _at(buffer: Any) -> Any:
    return tirx.address_of(buffer[0, 0])


def _one() -> Any:
    return tirx.FloatImm("float32", 1.0)


def _zero() -> Any:
    return tirx.FloatImm("float32", 0.0)
