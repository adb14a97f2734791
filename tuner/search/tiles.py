"""Register-tiled products: a small space of schedules for matrix multiplications, ordered by how a core works.

The rules of the search sample tilings blindly; a product's good ones are known. Accumulators of a small block of rows
by vectors stay in registers over the whole reduction (Goto & van de Geijn 2008, "Anatomy of High-Performance Matrix
Multiplication"), each step loads the vectors of one packed row of the constant operand and broadcasts one value a row.
What is left to measure is the block's shape, the order in which blocks are visited, and which axis the cores share.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import astuple, dataclass
from typing import Any

from tvm import tirx
from tvm.s_tir import Schedule
from tvm.target import codegen

_MAX_ROWS, _MAX_VECTORS = 16, 8
_FMA_LATENCY_X_PIPES = 8  # independent accumulations that keep two pipes of four cycles' latency busy
_LOADS_PER_FMA = 1.0  # vector loads a core can do beside each fused multiply-add
_CACHE_BYTES = 640 * 1024  # what of the constant operand stays in a core's second-level cache between row blocks
_FLOPS_PER_BYTE = 20.0  # floating-point operations a core does while it streams a byte from memory
_MIN_DEPTH = 128
_VARIETY = 0.04  # each variant of a register block must promise this much more than the one before to come first
_PANELS, _STEPS = (1, 2, 4), (1, 2, 4, 8)


@dataclass(frozen=True)
class Cpu:
    """What tiling needs to know: float32 lanes of a vector, vector registers of a core, cores that share the work."""

    lanes: int
    registers: int
    cores: int


@dataclass(frozen=True)
class Product:
    """Where the axes of a product are among a block's spatial loops, and their extents."""

    block: str
    rows_axis: int
    columns_axis: int
    rows: int
    columns: int
    depth: int
    batch: int


@dataclass(frozen=True)
class Tile:
    """One schedule: a register block of ``rows`` x ``vectors``, visited in blocks of ``row_block`` rows and groups of
    ``panels`` column panels, ``depth`` steps of the reduction at a time; the cores share columns, or row blocks."""

    rows: int
    vectors: int
    row_block: int
    panels: int
    depth: int
    share: str  # columns | rows


def cpu_of(target: Any) -> Cpu:
    """The core of an LLVM target."""
    features = {str(feature) for feature in codegen.llvm_get_cpu_features(target)}
    cores = int(target.attrs.get("num-cores", 1))
    if "avx512f" in features:
        return Cpu(16, 32, cores)
    if "avx2" in features:
        return Cpu(8, 16, cores)
    return Cpu(4, 32 if "neon" in features else 16, cores)


def find_product(mod: Any) -> Product | None:
    """The product in a module's function: its one reduction, a sum over one axis of two operands' products."""
    schedule = Schedule(mod)
    blocks = [schedule.get(block) for block in schedule.get_child_blocks(schedule.get_sblock("root"))]
    reductions = [b for b in blocks if any(it.iter_type != tirx.IterVar.DataPar for it in b.iter_vars)]
    if len(reductions) != 1:
        return None
    (block,) = reductions
    spatial = [it for it in block.iter_vars if it.iter_type == tirx.IterVar.DataPar]
    if len(block.iter_vars) != len(spatial) + 1 or len(spatial) < 2 or len(block.reads) != 2:
        return None
    columns = len(spatial) - 1
    operands = [_variables(region) for region in block.reads]
    with_columns = [names for names in operands if str(spatial[columns].var) in names]
    if len(with_columns) != 1:
        return None
    free = [axis for axis in range(columns) if str(spatial[axis].var) not in with_columns[0]]
    extents = [int(it.dom.extent) for it in spatial]
    free = [axis for axis in free if extents[axis] > 1] or free
    if len(free) != 1:
        return None
    total = 1
    for extent in extents:
        total *= extent
    rows, width = extents[free[0]], extents[columns]
    (depth,) = (int(it.dom.extent) for it in block.iter_vars if it.iter_type != tirx.IterVar.DataPar)
    return Product(str(block.name_hint), free[0], columns, rows, width, depth, total // (rows * width))


def _variables(region: Any) -> set[str]:
    return {str(var) for one in region.region for var in tirx.analysis.undefined_vars(one.min)}


def lanes_for(product: Product, cpu: Cpu) -> int:
    """The widest vector that divides the columns; below a quarter of a register tiling gains nothing, that is 0."""
    lanes = cpu.lanes
    while lanes >= max(2, cpu.lanes // 4):
        if product.columns % lanes == 0:
            return lanes
        lanes //= 2
    return 0


def tiles(product: Product, cpu: Cpu) -> list[Tile]:
    """All tiles that fit a core's registers, most promising first, variants of one register block spread out."""
    lanes = lanes_for(product, cpu)
    if not lanes:
        return []
    found = []
    for rows, vectors in itertools.product(_divisors(product.rows, _MAX_ROWS), _divisors(product.columns // lanes)):
        if vectors <= _MAX_VECTORS and rows * vectors + vectors + 1 <= cpu.registers:
            found += _visits(product, rows, vectors, lanes)
    variants: Counter[tuple[int, int, str]] = Counter()
    ranked = []
    for tile in sorted(found, key=lambda tile: cost(tile, product, cpu)):
        kind = (tile.rows, tile.vectors, tile.share)
        time, tie = cost(tile, product, cpu)
        ranked.append((time + _VARIETY * variants[kind], tie, tile))
        variants[kind] += 1
    return [tile for *_, tile in sorted(ranked, key=lambda entry: entry[:2])]


def _visits(product: Product, rows: int, vectors: int, lanes: int) -> list[Tile]:
    """The orders in which blocks of one register shape can be visited."""
    blocks = [n * rows for n in reversed(_divisors(product.rows // rows))]
    groups = [n for n in _PANELS if product.columns // lanes // vectors % n == 0]
    depths = [product.depth // n for n in _STEPS if product.depth % n == 0 and product.depth // n >= _MIN_DEPTH]
    return [
        Tile(rows, vectors, block, group, depth, share)
        for group, block, depth, share in itertools.product(
            groups, blocks, depths or [product.depth], ("columns", "rows")
        )
        # With one panel and one step, row blocks that the cores don't share are all visited in one order.
        if not (share == "columns" and group == 1 and depth == product.depth and block != product.rows)
    ]


def cost(tile: Tile, product: Product, cpu: Cpu) -> tuple[float, int]:
    """Estimated time in units of the bare arithmetic, then what breaks ties; smaller is better.

    Arithmetic is slowed by too few accumulators, too many loads and uneven shares; on top comes streaming the constants
    as often as the order of the blocks asks for.
    """
    lanes = lanes_for(product, cpu)
    accumulators = tile.rows * tile.vectors
    busy = max(1.0, _FMA_LATENCY_X_PIPES / accumulators)
    loads = max(1.0, (tile.rows + tile.vectors) / accumulators / _LOADS_PER_FMA)
    tasks = _tasks(tile, product, lanes)
    uneven = -(-tasks // cpu.cores) * cpu.cores / tasks
    blocks = product.rows // tile.row_block
    panel_bytes = 4 * tile.depth * tile.vectors * lanes
    if tile.share == "rows":
        streams = max(1.0, blocks / cpu.cores)
    else:
        streams = 1.0 if panel_bytes * tile.panels <= _CACHE_BYTES else float(blocks)
    if panel_bytes > _CACHE_BYTES:
        streams = max(streams, product.rows / tile.rows)
    steps = product.depth // tile.depth  # each but the first reads and writes the sums once more
    streaming = _FLOPS_PER_BYTE * 2.0 * streams / product.rows
    return (round(busy * loads * uneven + streaming + 0.05 * (steps - 1), 2), -accumulators)


def _tasks(tile: Tile, product: Product, lanes: int) -> int:
    shared = (
        product.columns // (lanes * tile.vectors * tile.panels)
        if tile.share == "columns"
        else product.rows // tile.row_block
    )
    return product.batch * shared


def neighbours(tile: Tile, others: list[Tile]) -> list[Tile]:
    """Those of ``others`` that differ from ``tile`` in one decision, in their order."""
    mine = astuple(tile)
    return [other for other in others if sum(a != b for a, b in zip(mine, astuple(other), strict=True)) == 1]


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
    middle = (row_block, step) if whole else (step, row_block)
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
    sch.unroll(store_row)
    init = sch.decompose_reduction(block, step)
    *_, init_row, init_vector, init_lane = sch.get_loops(init)
    sch.vectorize(init_lane)
    sch.unroll(init_vector)
    sch.unroll(init_row)
    return sch


def _tail_loops(sch: Any, write_back: Any, product: Product) -> list[Any]:
    """The write-back's loops over one register block, rows before columns."""
    loops = sch.get_loops(write_back)
    inner = loops[-(product.columns_axis + 1) :]
    column = inner[product.columns_axis]
    row = inner[product.rows_axis]
    sch.reorder(row, column)
    return [row, column]


def _inline_elementwise(sch: Any, product_block: str) -> list[Any]:
    """Inline all elementwise blocks but the last into their consumers; that last one follows the product."""
    names = [sch.get(b).name_hint for b in sch.get_child_blocks(sch.get_sblock("root"))]
    followers = names[names.index(product_block) + 1 :]
    for name in names[: names.index(product_block)] + followers[:-1]:
        sch.compute_inline(sch.get_sblock(name))
    return [sch.get_sblock(name) for name in followers[-1:]]


def _divisors(n: int, limit: int | None = None) -> list[int]:
    return [d for d in range(1, min(n, limit or n) + 1) if n % d == 0]
