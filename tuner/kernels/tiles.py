"""Register tiles: a small space of schedules for matrix multiplications, ordered by how a core works. No TVM.

The rules of the search sample tilings blindly; a product's good ones are known. Accumulators of a small block of rows
by vectors stay in registers over the whole reduction (Goto & van de Geijn 2008, "Anatomy of High-Performance Matrix
Multiplication"), each step loads the vectors of one packed row of the constant operand and broadcasts one value a row.
What is left to measure is the block's shape, the order in which blocks are visited, and which axis the cores share.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import astuple, dataclass

_MAX_ROWS, _MAX_VECTORS = 16, 8
_FMA_LATENCY_X_PIPES = 8  # independent accumulations that keep two pipes of four cycles' latency busy
_LOADS_PER_FMA = 1.0  # vector loads a core can do beside each fused multiply-add
_CACHE_BYTES = 1024 * 1024  # a core's second-level cache
_FLOPS_PER_BYTE = 20.0  # floating-point operations a core does while it streams a byte from memory
_UNHIDDEN = 0.2  # part of that streaming which is still waited for when it is asked for ahead
_FLOPS_PER_NEAR_BYTE = 5.0  # the same for a byte that is in a cache, but not the nearest
_VECTOR_READ = 0.5  # of an operation, to bring a vector of the constant operand from the second-level cache
_MIN_DEPTH = 128
_VARIETY = 0.04  # each variant of a register block must promise this much more than the one before to come first
_PANELS, _STEPS = (1, 2, 4), (1, 2, 4, 8)
_STRETCHES = (96, 48)  # steps of the reduction between requests for what comes next, about


@dataclass(frozen=True)
class Cpu:
    """What tiling needs to know: float32 lanes of a vector, vector registers of a core, cores that share the work."""

    lanes: int
    registers: int
    cores: int


@dataclass(frozen=True)
class Product:
    """Where the axes of a product are among a block's spatial loops, and their extents; is the operand with the columns
    a constant, whose layout is free?"""

    block: str
    rows_axis: int
    columns_axis: int
    rows: int
    columns: int
    depth: int
    batch: int
    constant: bool


@dataclass(frozen=True)
class Tile:
    """One schedule: a register block of ``rows`` x ``vectors``, visited in blocks of ``row_block`` rows and groups of
    ``panels`` column panels, ``depth`` steps of the reduction at a time; the cores share columns, or row blocks.

    Every ``stretch`` steps a part of the next panel is asked for (``compiler/prefetch.py``); 0: never.
    """

    rows: int
    vectors: int
    row_block: int
    panels: int
    depth: int
    share: str  # columns | rows
    stretch: int = 0


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
        Tile(rows, vectors, block, group, depth, share, stretch)
        for group, block, depth, share in itertools.product(
            groups, blocks, depths or [product.depth], ("columns", "rows")
        )
        # With one panel and one step, row blocks that the cores don't share are all visited in one order.
        if not (share == "columns" and group == 1 and depth == product.depth and block != product.rows)
        for stretch in (*(_stretches(depth) if product.constant and group == 1 else ()), 0)
    ]


def _stretches(depth: int) -> list[int]:
    """Divisors of the depth near the wanted lengths, the longest first."""
    shorter = [n for n in _divisors(depth) if n < depth]
    return sorted({min(shorter, key=lambda n: abs(n - wanted)) for wanted in _STRETCHES if shorter}, reverse=True)


def cost(tile: Tile, product: Product, cpu: Cpu) -> tuple[float, int]:
    """Estimated time in units of the bare arithmetic, then what breaks ties; smaller is better.

    Arithmetic is slowed by too few accumulators, too many loads and uneven shares. On top comes what is read again and
    again: constants as often as the order of the blocks asks for, their vectors once for each block of rows, the other
    operand's row block for each panel when it does not stay beside the panels in cache, sums once more for each step.
    """
    lanes = lanes_for(product, cpu)
    accumulators = tile.rows * tile.vectors
    busy = max(1.0, _FMA_LATENCY_X_PIPES / accumulators)
    loads = max(1.0, (tile.rows + tile.vectors) / accumulators / _LOADS_PER_FMA)
    tasks = _tasks(tile, product, lanes)
    uneven = -(-tasks // cpu.cores) * cpu.cores / tasks
    blocks = product.rows // tile.row_block
    width = tile.vectors * lanes
    panel_bytes = 4 * tile.depth * width
    block_bytes = 4 * tile.depth * tile.row_block
    if tile.share == "rows":
        streams = max(1.0, blocks / cpu.cores)
    else:
        streams = 1.0 if 4 * product.depth * width * tile.panels <= _CACHE_BYTES / 2 else float(blocks)
    if panel_bytes > _CACHE_BYTES:
        streams = max(streams, product.rows / tile.rows)
    streaming = _FLOPS_PER_BYTE * 2.0 * streams / product.rows * (_UNHIDDEN if tile.stretch else 1.0)
    crowded = panel_bytes * (2 if tile.stretch else tile.panels) + block_bytes > _CACHE_BYTES
    again = _FLOPS_PER_NEAR_BYTE * 2.0 / width if crowded else 0.0
    sums = _FLOPS_PER_NEAR_BYTE * 4.0 / tile.depth if tile.depth < product.depth else 0.0
    time = busy * loads * uneven + streaming + again + sums + _VECTOR_READ / tile.rows
    return (round(time, 2), -accumulators)


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


def _divisors(n: int, limit: int | None = None) -> list[int]:
    return [d for d in range(1, min(n, limit or n) + 1) if n % d == 0]
