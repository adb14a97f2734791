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
from math import gcd

from tuner.targets.cores import GENERIC, Core

_MAX_ROWS, _MAX_VECTORS = 16, 8
_SHARPNESS = 6  # bounds of a core's time add up as powers do: one near another costs a little, a far one nothing
_SUSTAINED = 0.75  # of what a second-level cache can give
_FLOPS_PER_BYTE = 10.0  # operations of a multiply-add unit while a core streams a byte from memory
_UNHIDDEN = 0.2  # part of that streaming which is still waited for when it is asked for ahead
_FEW_ROWS = 16  # for so many or fewer nothing is computed while a panel comes: a core's own prefetchers bring it sooner
_ASKED_IN_VAIN = 0.15  # of that streaming, what requests take there, where they are in the way of it
_FIRST_PANEL = 0.15  # of that streaming, what a core takes longer there that reads its part as one panel
_OTHERS_HALF = 0.5  # of that streaming, what a core takes longer for what another has brought already
_FLOPS_PER_NEAR_BYTE = 5.0  # the same for a byte that is in a cache, but not the nearest
_VALUE_READ, _VECTOR_READ = 0.04, 0.12  # of an operation, to load a value of the rows, a vector of the columns
_CROWDING = 1.5  # what a panel as large as the second-level cache takes more, by the cube of a core's units less
_FOLLOWED, _LOST = 8, 0.01  # rows that a core's prefetchers follow, and what each row more takes
_EVICTED = 2.0  # times as long takes a block of which the nearest cache can't hold a line a row
_WAY_BYTES, _LINE_BYTES = 4096, 64  # of the nearest cache: rows that lie so far apart share a set
_SUM_AGAIN = 32.0  # to write a sum and to read it again for the next step, in steps of the reduction
_MIN_DEPTH = 128
_BEGUN = 2  # multiply-adds that any core begins in a cycle
_VARIETY = 0.04  # each variant of a register block must promise this much more than the one before to come first
_PANELS, _STEPS = (1, 2, 4), (1, 2, 4, 8)
_STRETCHES = (48, 96)  # steps of the reduction between requests for what comes next, about


@dataclass(frozen=True)
class Cpu:
    """What tiling needs to know: float32 lanes of a vector, vector registers of a core, cores that share the work, and
    what a core begins in a cycle."""

    lanes: int
    registers: int
    cores: int
    core: Core = GENERIC

    def units(self, lanes: int) -> float:
        """Multiply-adds of so many lanes that a core begins in a cycle."""
        return self.core.fma_lanes / lanes

    @property
    def full_lanes(self) -> list[int]:
        """Lanes of vectors that keep a core's units busy: the widest and, where two halves are all that it begins in a
        cycle, half of that."""
        half = self.lanes // 2
        return [self.lanes, half] if self.units(half) <= _BEGUN else [self.lanes]


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
    """Divisors of the depth near the wanted lengths, the shortest first."""
    shorter = [n for n in _divisors(depth) if n < depth]
    return sorted({min(shorter, key=lambda n: abs(n - wanted)) for wanted in _STRETCHES if shorter})


def cost(tile: Tile, product: Product, cpu: Cpu) -> tuple[float, int]:
    """Estimated time in units of the bare arithmetic, then what breaks ties; smaller is better.

    To what a block of registers takes comes what is read again and again: constants as often as the order of the blocks
    asks for, the other operand's row block for each panel when it does not stay beside the panels in cache, sums once
    more for each step. The constants are fitted to the records of ``tuning_logs/`` and of a Zen 5.
    """
    lanes = lanes_for(product, cpu)
    tasks = _tasks(tile, product, lanes)
    uneven = -(-tasks // cpu.cores) * cpu.cores / tasks
    width = tile.vectors * lanes
    panel_bytes = 4 * tile.depth * width
    block_bytes = 4 * tile.depth * tile.row_block
    crowded = panel_bytes * (2 if tile.stretch else tile.panels) + block_bytes > cpu.core.l2_bytes
    again = _FLOPS_PER_NEAR_BYTE * 2.0 / width if crowded else 0.0
    sums = _SUM_AGAIN / tile.depth if tile.depth < product.depth else 0.0
    is_kept = product.constant and product.rows > _FEW_ROWS
    crowding = _CROWDING / cpu.units(lanes) ** 3 * panel_bytes / cpu.core.l2_bytes if is_kept else 0.0
    read = _streaming(tile, product, cpu, lanes) + crowding + again
    time = _block(tile, product, cpu, lanes) * uneven + read + sums
    return (round(time, 2), -tile.rows * tile.vectors)


def _block(tile: Tile, product: Product, cpu: Cpu, lanes: int) -> float:
    """Of a register block, next to its bare arithmetic: slowed by too few sums, by too many loads, by what it waits for
    of a panel that lies in the second-level cache, and by rows that push each other out of the nearest."""
    core, units, sums = cpu.core, cpu.units(lanes), tile.rows * tile.vectors
    busy = units * core.fma_latency / sums
    loads = (tile.rows + tile.vectors) / sums * units / core.loads
    is_near = 8 * tile.depth * tile.vectors * lanes <= core.l1_bytes
    panel = 0.0 if is_near else 4 * lanes / (core.l2_bytes_per_cycle * _SUSTAINED) * units / tile.rows
    evicted = _EVICTED if product.constant and tile.rows > _rows_held(product.depth, core) else 0.0
    bound = sum(one**_SHARPNESS for one in (1.0, busy, loads, panel, evicted)) ** (1 / _SHARPNESS)
    read = (tile.rows * _VALUE_READ + tile.vectors * _VECTOR_READ) / sums
    return float(bound + read + _LOST * max(0, tile.rows - _FOLLOWED))


def _rows_held(depth: int, core: Core) -> int:
    """Rows of so many float32 of which the nearest cache holds a line each: those a multiple of a way apart share a
    set."""
    sets_apart = _WAY_BYTES // gcd(_WAY_BYTES, max(_LINE_BYTES, 4 * depth // _LINE_BYTES * _LINE_BYTES))
    return core.l1_bytes // _WAY_BYTES * sets_apart


def _streaming(tile: Tile, product: Product, cpu: Cpu, lanes: int) -> float:
    """What constants take on their way from memory."""
    blocks = product.rows // tile.row_block
    width = tile.vectors * lanes
    if tile.share == "rows":
        streams = max(1.0, blocks / cpu.cores) + (_OTHERS_HALF if cpu.cores > 1 else 0.0)
    else:
        streams = 1.0 if 4 * product.depth * width * tile.panels <= cpu.core.l2_bytes / 2 else float(blocks)
    if 4 * tile.depth * width > cpu.core.l2_bytes:
        streams = max(streams, product.rows / tile.rows)
    waited = _FLOPS_PER_BYTE * cpu.units(cpu.lanes) * 2.0 * streams / product.rows
    if product.rows <= _FEW_ROWS:
        panels = max(1.0, product.columns / width / cpu.cores)
        return waited * (1.0 + (_ASKED_IN_VAIN if tile.stretch else 0.0) + _FIRST_PANEL / panels)
    return waited * (_UNHIDDEN if tile.stretch else 1.0)


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
