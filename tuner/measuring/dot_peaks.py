"""The kernels that find what a device does at most at a lower precision: its dot instructions on registers."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import tirx
from tvm.tirx.script import builder as T

from tuner.graph.attention_kernel import body
from tuner.kernels import dot_blocks
from tuner.kernels.dot_blocks import DotTile
from tuner.kernels.dots import Dot
from tuner.kernels.emit import argument, kernel, store
from tuner.kernels.row_products import RowProduct

_STEPS = 64  # of the operands, so that they stay in the first-level cache


def dot_products(dot: Dot, tasks: int, passes: int) -> tuple[Any, list[tuple[tuple[int, ...], str]], float]:
    """Products by an instruction, operands in the first-level cache, all sums in registers; ``passes`` over them in
    each of ``tasks``.

    Returns the module, its arguments, and the multiplications and additions of one launch.
    """
    depth = _STEPS * dot.group
    tile = _largest(depth, dot)
    dtype, width = dot_blocks.rounded_shape(depth, dot)
    constant, sums = ((1, _STEPS, tile.width), dot.constant), ((tasks, tile.rows, tile.width), dot.sums)
    arguments = [((tile.rows, width), dtype), constant, sums]
    found = _product(depth, tile.width)
    with kernel({}) as builder:
        buffers = [argument(f"argument{n}", *one) for n, one in enumerate(arguments)]
        out = buffers[-1]
        with body("product", buffers[:-1], out), T.attr(T.int32(0), "pragma_import_llvm", dot.text):
            emitter = dot_blocks.emitter(found, tile, buffers, dot, (buffers[0], None, None))
            with T.parallel(0, tasks) as task:
                registers = emitter.registers(tile.rows, dot.sums)
                with T.serial(0, passes), T.serial(0, _STEPS) as k:
                    emitter.add(registers, tile.rows, T.int64(0), T.int64(0), k)
                for row, vector, column in emitter.block(tile.rows):
                    lanes = T.Ramp(0, 1, tile.lanes)
                    store(out, registers[vector][row, lanes], task, row, T.Ramp(column, 1, tile.lanes))
    products = tasks * passes * depth * tile.rows * tile.width
    return tvm.IRModule({"main": builder.get()}), arguments, 2.0 * products


def _product(depth: int, columns: int) -> RowProduct:
    """Of any number of rows."""
    out = tirx.decl_buffer((tirx.Var("rows", "int64"), columns))
    return RowProduct([out], 0, 1, depth, columns, lambda totals, *_: totals[0])


def _largest(depth: int, dot: Dot) -> DotTile:
    """The tile that multiplies most for each load, of a product as wide as it is itself."""
    return dot_blocks.tiles(_product(depth, 60 * dot.lanes), dot)[0]
