"""Tiles of products by simdgroup matrices, and which is the quickest by a model of Apple's GPUs. Pure.

A core multiplies while it copies: what takes longest of arithmetic, reading from threadgroup memory and reading from
the caches is what a tile costs. Cores take threadgroups in turn, so that the last turn may leave some without.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

SIDE = 8  # of a simdgroup matrix
BANK_BYTES = 16  # added to each row in threadgroup memory, so that the rows of a matrix lie in different banks
SIMD_WIDTH = 32
MATRIX_LANES = SIDE * SIDE // SIMD_WIDTH  # elements of a matrix that a lane holds
_OTHER_REGISTER_BYTES = 64  # of a lane: addresses and what is being copied


@dataclass(frozen=True)
class Tile:
    """What a threadgroup computes: ``rows`` x ``columns``, ``depth`` a step, by a grid of simdgroups."""

    rows: int
    columns: int
    depth: int
    simd_rows: int
    simd_columns: int

    @property
    def name(self) -> str:
        """As records of what was chosen keep it."""
        return f"simdgroup-{self.rows}x{self.columns}x{self.depth}"

    def threads(self, simd_width: int) -> int:
        """Threads of a threadgroup."""
        return self.simd_rows * self.simd_columns * simd_width

    def shared_bytes(self, element_bytes: int) -> int:
        """Threadgroup memory that both operands' slices and the result's tile take; the longer layout of each."""
        bank = BANK_BYTES // element_bytes
        left = self.rows * (self.depth + bank)
        right = max(self.depth * (self.columns + bank), self.columns * (self.depth + bank))
        return (left + right + self.rows * self.columns) * element_bytes


# Large tiles read operands less often, small ones keep all cores busy where the result is small. Accumulators, two
# elements a lane and matrix, stay below half of the registers.
TILES = (
    Tile(64, 64, 16, 2, 2),
    Tile(32, 64, 16, 2, 2),
    Tile(32, 32, 32, 2, 2),
    Tile(16, 64, 32, 1, 2),
)
# Of halves that are added up in float32 the result's tile is larger than either slice: TVM would put it in the place of
# a slice that is large enough, and fails at the other type.
TILES_OF_HALVES = (*TILES[:3], Tile(16, 64, 16, 1, 2))


@dataclass(frozen=True)
class Gpu:
    """``cores`` and what each has. The M1's by measurements that its owners published (metal-benchmarks of P. Turner):
    128 fused multiply-adds a cycle, four schedulers, 208 KiB of registers, 60 KiB of threadgroup memory. What a cycle
    brings from threadgroup memory and from the caches is assumed; no device has confirmed the order.
    """

    cores: int = 8
    flops: int = 256
    register_bytes: int = 208 * 1024
    threadgroup_bytes: int = 60 * 1024
    near_bytes: int = 64
    far_bytes: int = 32
    simdgroups_to_be_busy: int = 8  # two for each scheduler: one works while the other waits at a barrier


@dataclass(frozen=True)
class Multiplication:
    """``batch`` products of ``rows`` x ``depth`` by ``depth`` x ``columns``."""

    batch: int
    rows: int
    columns: int
    depth: int
    element_bytes: int


@dataclass(frozen=True)
class Cost:
    """What a product takes by one tile. ``resident`` are the threadgroups that a core has at a time, of which it takes
    ``turns`` in all; FLOPs (with those of padding) and bytes read from the caches are one threadgroup's.
    """

    threadgroups: int
    turns: int
    resident: int
    simdgroups: int  # of the resident ones
    flops: int
    read_bytes: int
    cycles: float


@dataclass(frozen=True)
class Work:
    """What a threadgroup of a kernel does and takes, and how many there are: FLOPs with those of padding, bytes read
    from the caches and from threadgroup memory, bytes of registers and of threadgroup memory."""

    threadgroups: int
    simdgroups: int
    flops: int
    read_bytes: int
    near_bytes: int
    register_bytes: int
    shared_bytes: int


def cost_of(work: Work, gpu: Gpu) -> Cost:
    """What the model says of a kernel."""
    turns = math.ceil(work.threadgroups / gpu.cores)
    threads = work.simdgroups * SIMD_WIDTH
    registers = work.register_bytes + threads * _OTHER_REGISTER_BYTES
    resident = max(1, min(gpu.threadgroup_bytes // work.shared_bytes, gpu.register_bytes // registers, turns))
    simdgroups = resident * work.simdgroups
    longest = max(work.flops / gpu.flops, work.near_bytes / gpu.near_bytes, work.read_bytes / gpu.far_bytes)
    busy = min(1.0, simdgroups / gpu.simdgroups_to_be_busy)
    cycles = turns * longest / busy
    return Cost(work.threadgroups, turns, resident, simdgroups, work.flops, work.read_bytes, cycles)


def cost(tile: Tile, wanted: Multiplication, gpu: Gpu) -> Cost:
    """What the model says of a tile."""
    depth = math.ceil(wanted.depth / tile.depth) * tile.depth
    matrices_down, matrices_across = tile.rows // tile.simd_rows // SIDE, tile.columns // tile.simd_columns // SIDE
    held = matrices_down * matrices_across + matrices_down + matrices_across
    simdgroups = tile.simd_rows * tile.simd_columns
    work = Work(
        threadgroups=wanted.batch * math.ceil(wanted.rows / tile.rows) * math.ceil(wanted.columns / tile.columns),
        simdgroups=simdgroups,
        flops=2 * tile.rows * tile.columns * depth,
        read_bytes=(tile.rows + tile.columns) * depth * wanted.element_bytes,
        near_bytes=simdgroups * (matrices_down + matrices_across) * SIDE * depth * wanted.element_bytes,
        register_bytes=tile.threads(SIMD_WIDTH) * held * MATRIX_LANES * wanted.element_bytes,
        shared_bytes=tile.shared_bytes(wanted.element_bytes),
    )
    return cost_of(work, gpu)


def by_cost(tiles: Sequence[Tile], wanted: Multiplication, gpu: Gpu) -> list[Tile]:
    """The quickest first; of equals the one that comes first, as large ones read less."""
    return sorted(tiles, key=lambda tile: cost(tile, wanted, gpu).cycles)
