"""Products in TVM's terms: found in a function, scheduled by a tile, and the tile read back from a record."""

from __future__ import annotations

import json
from math import prod
from typing import Any

from tvm import tirx
from tvm.s_tir import Schedule
from tvm.target import codegen

from tuner.kernels.blocks import block_names, is_reduction, operations
from tuner.kernels.prefetch import MARK, names_in
from tuner.kernels.tiles import Cpu, Product, Tile
from tuner.targets.cores import core_of

_LONG = 16  # operations on an element: a bias and a residual are two, GELU is over a hundred


def cpu_of(target: Any) -> Cpu:
    """The core of an LLVM target."""
    features = {str(feature) for feature in codegen.llvm_get_cpu_features(target)}
    cores, core = int(target.attrs.get("num-cores", 1)), core_of(str(target.attrs.get("mcpu", "")))
    if "avx512f" in features:
        return Cpu(16, 32, cores, core)
    if "avx2" in features:
        return Cpu(8, 16, cores, core)
    return Cpu(4, 32 if "neon" in features else 16, cores, core)


def find_product(mod: Any) -> Product | None:
    """The product in a module's function: its one reduction, over one axis, of two operands; None where there is none.

    What is done to two elements and how that adds up does not matter to its schedules.
    """
    schedule = Schedule(mod)
    blocks = [schedule.get(block) for block in schedule.get_child_blocks(schedule.get_sblock("root"))]
    reductions = [block for block in blocks if is_reduction(block)]
    if len(reductions) != 1:
        return None
    (block,) = reductions
    spatial = [it for it in block.iter_vars if it.iter_type == tirx.IterVar.DataPar]
    if len(block.iter_vars) != len(spatial) + 1 or len(spatial) < 2 or len(block.reads) != 2:
        return None
    columns = len(spatial) - 1
    with_columns = [region for region in block.reads if str(spatial[columns].var.name) in names_in(region)]
    if len(with_columns) != 1:
        return None
    free = [axis for axis in range(columns) if str(spatial[axis].var.name) not in names_in(with_columns[0])]
    extents = [int(it.dom.extent) for it in spatial]
    free = [axis for axis in free if extents[axis] > 1] or free
    if len(free) != 1:
        return None
    rows, width = extents[free[0]], extents[columns]
    (depth,) = (int(it.dom.extent) for it in block.iter_vars if it.iter_type != tirx.IterVar.DataPar)
    constant = str(with_columns[0].source.name) in _constants(mod["main"])
    return Product(
        str(block.name_hint), free[0], columns, rows, width, depth, prod(extents) // (rows * width), constant
    )


def schedule(mod: Any, product: Product, tile: Tile, lanes: int) -> Any:
    """The module's function scheduled by ``tile``; what follows the product is computed on each block while cached."""
    sch = Schedule(mod)
    block = sch.get_sblock(product.block)
    followers = _inline_elementwise(sch, product.block)
    *spatial, reduction = sch.get_loops(block)
    rows, columns = spatial[product.rows_axis], spatial[product.columns_axis]
    batch = [loop for axis, loop in enumerate(spatial) if axis not in (product.rows_axis, product.columns_axis)]
    row_outer, row_block, row = sch.split(rows, [None, tile.row_block // tile.rows, tile.rows])
    group, panel, vector, lane = sch.split(columns, [None, tile.panels, tile.vectors, lanes])
    outer = [group, row_outer] if tile.share == "columns" else [row_outer, group]
    step, reduction = sch.split(reduction, [None, tile.depth])
    whole = tile.depth == product.depth
    middle = [row_block, step] if whole else [step, row_block]
    if tile.stretch:
        stretch, reduction = sch.split(reduction, [None, tile.stretch])
        sch.annotate(stretch, MARK, 1)
        middle.append(stretch)
    sch.reorder(*batch, *outer, panel, *middle, reduction, row, vector, lane)
    write_back = sch.cache_write(block, 0, "global")
    sch.reverse_compute_at(write_back, row_block if whole else panel, preserve_unit_loops=True)
    for follower in followers:
        sch.reverse_compute_inline(follower)
    shared = [*batch, outer[0]]
    sch.parallel(sch.fuse(*shared) if len(shared) > 1 else shared[0])
    sch.vectorize(lane)
    sch.unroll(row)
    sch.unroll(vector)
    *_, store_row, store_column = _tail_loops(sch, write_back, product)
    store_vector, store_lane = sch.split(store_column, [None, lanes])
    sch.vectorize(store_lane)
    sch.unroll(store_vector)
    if not whole:  # all rows of the block are written at once
        _, store_row = sch.split(store_row, [None, tile.rows])
    if not (tile.stretch and _is_long(sch, write_back)):
        sch.unroll(store_row)
    init = sch.decompose_reduction(block, step)
    *_, init_row, init_vector, init_lane = sch.get_loops(init)
    sch.vectorize(init_lane)
    sch.unroll(init_vector)
    sch.unroll(init_row)
    return sch


def tile_of(record: str) -> Tile | None:
    """The tile a record's schedule was made by, from the record's JSON; None when it was made in another way."""
    kept = json.loads(record)
    if not isinstance(kept, list):  # a choice, by which a kernel is written out
        return None
    splits: list[tuple[list[Any], list[str]]] = []
    order: list[str] = []
    stretches = False
    for step in kept[0][0]:
        match step:
            case ["Split", [_, *factors], _, loops]:
                splits.append((factors, loops))
            case ["Reorder", loops, *_] if not order:
                order = loops
            case ["Annotate", _, [name], _] if name == MARK:
                stretches = True
    match splits:
        case [
            (["None", int(blocks), int(rows)], [row_outer, *_]),
            (["None", int(panels), int(vectors), int()], [group, *_]),
            (["None", int(depth)], _),
            (["None", int(inner)], _),
            *_,
        ] if min(blocks, rows, panels, vectors, depth, inner) > 0:
            share = "columns" if order.index(group) < order.index(row_outer) else "rows"
            return Tile(rows, vectors, blocks * rows, panels, depth, share, inner if stretches else 0)
    return None


def _constants(function: Any) -> set[str]:
    free = (function.attrs or {}).get("layout_free_buffers", [])
    return {str(function.params[int(index)].name) for index in free}


def _tail_loops(sch: Any, write_back: Any, product: Product) -> list[Any]:
    """The write-back's loops over one register block, rows before columns."""
    loops = sch.get_loops(write_back)
    inner = loops[-(product.columns_axis + 1) :]
    column = inner[product.columns_axis]
    row = inner[product.rows_axis]
    sch.reorder(row, column)
    return [row, column]


def _is_long(sch: Any, block: Any) -> bool:
    """Does the block compute so much of each element that a copy of it for each row takes LLVM as long as all else?

    Where sums stay in registers to the end (no stretches), only copies can read them.
    """
    return operations(sch.get(block)) > _LONG


def _inline_elementwise(sch: Any, product_block: str) -> list[Any]:
    """Inline all elementwise blocks but the last into their consumers; that last one follows the product."""
    names = block_names(sch)
    followers = names[names.index(product_block) + 1 :]
    for name in names[: names.index(product_block)] + followers[:-1]:
        sch.compute_inline(sch.get_sblock(name))
    return [sch.get_sblock(name) for name in followers[-1:]]
