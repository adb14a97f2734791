"""How attention may be shared out on an Apple GPU, and which way is the quickest by the model of it. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tuner.graph.attention_kernel import Attention
from tuner.kernels.simdgroup_tiles import BANK_BYTES, MATRIX_LANES, SIDE, SIMD_WIDTH, Cost, Gpu, Work, cost_of

_BYTES = 4  # of a score and of a sum
_ROWS, _SIMDGROUPS, _KEYS = (8, 16), (4, 2, 8), (32, 64, 16)
_MOST_MATRICES = 48  # of a simdgroup: 96 of the 128 registers that a lane has while a core is full


@dataclass(frozen=True)
class SimdgroupAttention:
    """``simdgroups`` of ``rows`` queries each go over blocks of ``keys``."""

    rows: int
    simdgroups: int
    keys: int

    @property
    def queries(self) -> int:
        """Of a threadgroup."""
        return self.rows * self.simdgroups

    def matrices(self, dim: int) -> int:
        """That a simdgroup holds: its queries, sums and scores, and what it multiplies by."""
        down, across = self.rows // SIDE, self.keys // SIDE
        return down * (2 * dim // SIDE + across + 1) + 2

    def register_bytes(self, dim: int, element_bytes: int) -> int:
        """Of a lane for each of its elements of a matrix: operands are as long as elements, sums and scores float32."""
        operands = self.rows // SIDE * (dim // SIDE + 1) + 1
        return operands * element_bytes + (self.matrices(dim) - operands) * _BYTES

    def shared_bytes(self, dim: int, element_bytes: int = _BYTES) -> int:
        """Threadgroup memory: queries, keys or values; scores, or a part of the result; those weights of values that
        are shorter than scores; what sums are rescaled by."""
        brought = max(self.keys, self.queries) * (dim * element_bytes + BANK_BYTES)
        weights = self.queries * (self.keys * element_bytes + BANK_BYTES) if element_bytes < _BYTES else 0
        return brought + self.queries * (self.keys * _BYTES + BANK_BYTES) + weights + self.queries * SIDE * _BYTES


def cost(tile: SimdgroupAttention, attention: Attention, gpu: Gpu) -> Cost:
    """What the model says of one of these; FLOPs are those of both products, of rescaling and the softmax."""
    dim, size, blocks = attention.dim, attention.element_bytes, math.ceil(attention.longest / tile.keys)
    by_query = len(attention.bias) > 2 and attention.bias[2] > 1
    down, deep, across = tile.rows // SIDE, dim // SIDE, tile.keys // SIDE
    products = tile.simdgroups * blocks * down * deep * (2 * across + 1)
    softmax = tile.queries * blocks * tile.keys * 8
    # A simdgroup's loads of keys, values and weights; its scores, left as sums, and what these are rescaled by.
    operands = tile.simdgroups * blocks * across * (2 * deep + down) * SIDE * SIDE * size
    sums = tile.simdgroups * blocks * down * (across + 1) * SIDE * SIDE * _BYTES
    work = Work(
        threadgroups=attention.texts * attention.heads * math.ceil(attention.longest / tile.queries),
        simdgroups=tile.simdgroups,
        flops=products * 2 * SIDE**3 + softmax,
        read_bytes=((tile.queries + 2 * blocks * tile.keys) * dim + by_query * tile.queries * blocks * tile.keys)
        * _BYTES,
        near_bytes=operands + sums + tile.queries * blocks * tile.keys * (2 * _BYTES + size),
        register_bytes=tile.simdgroups * SIMD_WIDTH * MATRIX_LANES * tile.register_bytes(dim, size),
        shared_bytes=tile.shared_bytes(dim, size),
    )
    return cost_of(work, gpu)


def tiles(attention: Attention, gpu: Gpu, most_threads: int, most_bytes: int) -> list[SimdgroupAttention]:
    """All that a threadgroup has threads and memory for and a lane registers, the quickest first; none for texts whose
    lengths are known only when they run, or a head that is no whole number of matrices."""
    if attention.ragged or attention.dim % SIDE:
        return []
    found = [
        tile
        for rows in _ROWS
        for simdgroups in _SIMDGROUPS
        for keys in _KEYS
        if (tile := SimdgroupAttention(rows, simdgroups, keys)).matrices(attention.dim) <= _MOST_MATRICES
        and simdgroups * SIMD_WIDTH <= most_threads
        and tile.shared_bytes(attention.dim, attention.element_bytes) <= most_bytes
    ]
    return sorted(found, key=lambda tile: cost(tile, attention, gpu).cycles)
