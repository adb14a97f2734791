"""Attention as one kernel for Apple GPUs, by simdgroup matrices, whose scores never leave a threadgroup.

A threadgroup has a block of queries of one head. It goes over the keys block by block: scores, their exponentials
relative to the highest score so far, and the sum of the values weighed by these, which is rescaled whenever a higher
score comes (Dao et al. 2022, "FlashAttention", algorithm 1; Milakov & Gimelshein 2018 for the softmax). Each simdgroup
has rows of its own: it keeps its queries and its sums in registers, as 8x8 matrices. What differs from row to row is a
diagonal matrix that the sums are multiplied by, as nobody may know which lane holds which element of a matrix.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import contextmanager
from math import gcd
from typing import Any

from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from tuner.graph.attention_kernel import Attention, Signature, declare, whole
from tuner.kernels.attention_tiles import SimdgroupAttention
from tuner.kernels.emit import store
from tuner.kernels.emit_simdgroup import clear, combine, leave, load, matrices, multiply, wait, where
from tuner.kernels.simdgroup_tiles import BANK_BYTES, SIDE, SIMD_WIDTH

_NO_SCORE = -3e38
_LANES = 4  # of Metal's longest vector
_BANK = BANK_BYTES // 4  # float32


def write(attention: Attention, tile: SimdgroupAttention) -> Any:
    """The kernel, a PrimFunc with the arguments of ``attention_kernel.declare``, for texts of one length."""
    blocks = -(-attention.longest // tile.queries)
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        given = declare(attention)
        with T.sblock("root"), _threads(blocks, attention, tile) as place, T.sblock("attention"):
            T.reads(*map(whole, given.read))
            T.writes(whole(given.out))
            _Threadgroup(given, tile, *place).emit()
    return builder.get()


@contextmanager
def _threads(blocks: int, attention: Attention, tile: SimdgroupAttention) -> Iterator[tuple[Any, ...]]:
    """Block of queries, head and text of a threadgroup, simdgroup and lane of a thread."""
    with (
        T.thread_binding(0, blocks, "blockIdx.x") as first,
        T.thread_binding(0, attention.heads, "blockIdx.y") as head,
        T.thread_binding(0, attention.texts, "blockIdx.z") as text,
        T.thread_binding(0, tile.simdgroups, "threadIdx.y") as simdgroup,
        T.thread_binding(0, SIMD_WIDTH, "threadIdx.x") as lane,
    ):
        yield first, head, text, simdgroup, lane


class _Threadgroup:
    """A block of queries, from the view of one thread."""

    def __init__(
        self, given: Signature, tile: SimdgroupAttention, first: Any, head: Any, text: Any, simdgroup: Any, lane: Any
    ) -> None:
        self.given, self.tile, self.head, self.text = given, tile, head, text
        self.attention = given.attention
        self.simdgroup, self.lane = simdgroup, lane
        self.first = first * tile.queries  # query of the text
        self.down, self.deep, self.across = tile.rows // SIDE, self.attention.dim // SIDE, tile.keys // SIDE
        self.dtype, bank = self.attention.dtype, BANK_BYTES // self.attention.element_bytes
        brought = max(tile.keys, tile.queries), self.attention.dim + bank
        self.brought = T.alloc_buffer(brought, self.dtype, scope="shared")
        self.scores = T.alloc_buffer((tile.queries, tile.keys + _BANK), scope="shared")
        self.weights = self.scores
        if self.attention.is_rounded:
            self.weights = T.alloc_buffer((tile.queries, tile.keys + bank), self.dtype, scope="shared")
        self.factors = T.alloc_buffer((tile.queries, SIDE), scope="shared")  # a diagonal matrix for each 8 rows
        self.queries = matrices(self.down * self.deep, self.dtype)
        self.sums = matrices(self.down * self.deep)
        self.products = matrices(self.down * self.across)
        self.left, self.right = matrices(self.down, self.dtype), matrices(1, self.dtype)
        self.factor = matrices(1) if self.attention.is_rounded else self.right
        self.zero = matrices(1)
        self.peak, self.total = (T.alloc_buffer((1,), scope="local") for _ in range(2))

    def emit(self) -> None:
        """The whole kernel."""
        tile, length = self.tile, self.attention.longest
        self._begin()
        with T.serial(0, -(-length // tile.keys)) as block:
            first = block * tile.keys
            wait()
            self._bring(self.attention.key, first, tile.keys)
            wait()
            self._score()
            wait()
            self._bring(self.attention.value, first, tile.keys)
            self._soften(first)
            wait()
            self._rescale()
            self._weigh()
        wait()
        self._each_factor(T.float32(1) / self.total[0])
        wait()
        self._rescale()
        self._leave()

    def _begin(self) -> None:
        clear(self.zero, 0)
        with T.unroll(0, self.down * self.deep) as n:
            clear(self.sums, n)
        store(self.peak, T.float32(_NO_SCORE), 0)
        store(self.total, T.float32(0), 0)
        with T.unroll(0, self.tile.rows * SIDE // SIMD_WIDTH) as n:
            at = n * SIMD_WIDTH + self.lane
            store(self.factors, T.float32(0), self._row(at // SIDE), at % SIDE)
        self._bring(self.attention.query, self.first, self.tile.queries, self.attention.scale)
        wait()
        with T.unroll(0, self.down) as r, T.unroll(0, self.deep) as d:
            load(self.queries, r * self.deep + d, self.brought, self._row(r * SIDE), d * SIDE)

    def _row(self, row: Any) -> Any:
        """A row of the simdgroup's as one of the threadgroup's."""
        return self.simdgroup * self.tile.rows + row

    def _bring(self, of: tuple[int, int], first: Any, rows: int, scale: float = 1.0) -> None:
        """Copy rows of queries, keys or values; those past the text's end are its last once more."""
        (source, column), dim = of, self.attention.dim
        lanes = gcd(_LANES, column, self.attention.widths[source])
        threads, vectors = self.tile.simdgroups * SIMD_WIDTH, dim // lanes
        with T.serial(0, -(-rows * vectors // threads)) as n:
            at = n * threads + self.simdgroup * SIMD_WIDTH + self.lane
            with where(at < rows * vectors, rows * vectors % threads != 0), T.vectorized(0, lanes) as part:
                row = T.min(first + at // vectors, self.attention.longest - 1)
                d = at % vectors * lanes + part
                value = self.given.sources[source][
                    self.text * self.attention.longest + row, column + self.head * dim + d
                ]
                value = value if scale == 1.0 else value * T.float32(scale)
                store(self.brought, self._operand(value), at // vectors, d)

    def _operand(self, value: Any) -> Any:
        return T.cast(value, self.dtype) if self.attention.is_rounded else value

    def _score(self) -> None:
        with T.unroll(0, self.down * self.across) as n:
            clear(self.products, n)
        with T.unroll(0, self.deep) as d, T.unroll(0, self.across) as k:
            load(self.right, 0, self.brought, k * SIDE, d * SIDE, transposed=True)
            with T.unroll(0, self.down) as r:
                n = r * self.across + k
                multiply(self.products, n, self.queries, r * self.deep + d, self.right, 0, self.products, n)
        with T.unroll(0, self.down) as r, T.unroll(0, self.across) as k:
            leave(self.products, r * self.across + k, self.scores, self._row(r * SIDE), k * SIDE)

    def _soften(self, first: Any) -> None:
        """Scores become exponentials; some lanes share a row, each knows its highest score and all that was summed."""
        sharing = SIMD_WIDTH // self.tile.rows
        row, share, count = self._row(self.lane // sharing), self.lane % sharing, self.tile.keys // sharing
        scores = T.alloc_buffer((count,), scope="local")
        highest, total = (T.alloc_buffer((1,), scope="local") for _ in range(2))
        store(highest, self.peak[0], 0)
        store(total, T.float32(0), 0)
        with T.unroll(0, count) as n:
            column = n * sharing + share
            store(scores, self._score_of(row, column, first + column), n)
            store(highest, T.max(highest[0], scores[n]), 0)
        combine(highest, 0, self.lane, sharing, T.max)
        with T.unroll(0, count) as n:
            store(scores, T.exp(scores[n] - highest[0]), n)
            store(total, total[0] + scores[n], 0)
        with T.unroll(0, count) as n:
            store(self.weights, self._operand(scores[n]), row, n * sharing + share)
        combine(total, 0, self.lane, sharing, operator.add)
        store(self.peak, T.exp(self.peak[0] - highest[0]), 0)
        store(self.total, self.total[0] * self.peak[0] + total[0], 0)
        self._each_factor(self.peak[0])
        store(self.peak, highest[0], 0)

    def _score_of(self, row: Any, column: Any, key: Any) -> Any:
        """With the bias; none where there is no such key."""
        score, last = self.scores[row, column], self.attention.longest - 1
        if self.given.bias is not None:
            score = score + self.given.added(self.text, self.head, T.min(self.first + row, last), T.min(key, last))
        return T.Select(key <= last, score, T.float32(_NO_SCORE)) if (last + 1) % self.tile.keys else score

    def _each_factor(self, value: Any) -> None:
        """What each row's sums are to be multiplied by; the lanes that share a row have the same."""
        sharing = SIMD_WIDTH // self.tile.rows
        row = self.lane // sharing
        with T.If(self.lane % sharing == 0), T.Then():
            store(self.factors, value, self._row(row), row % SIDE)

    def _rescale(self) -> None:
        with T.unroll(0, self.down) as r:
            load(self.factor, 0, self.factors, self._row(r * SIDE), 0)
            with T.unroll(0, self.deep) as d:
                n = r * self.deep + d
                multiply(self.sums, n, self.factor, 0, self.sums, n, self.zero, 0)

    def _weigh(self) -> None:
        with T.unroll(0, self.across) as k:
            with T.unroll(0, self.down) as r:
                load(self.left, r, self.weights, self._row(r * SIDE), k * SIDE)
            with T.unroll(0, self.deep) as d:
                load(self.right, 0, self.brought, k * SIDE, d * SIDE)
                with T.unroll(0, self.down) as r:
                    n = r * self.deep + d
                    multiply(self.sums, n, self.left, r, self.right, 0, self.sums, n)

    def _leave(self) -> None:
        """The sums, so many columns at a time as scores have, through their memory to where the next projection reads
        them."""
        for start in range(0, self.deep, self.across):
            width = min(self.across, self.deep - start)
            with T.unroll(0, self.down) as r, T.unroll(0, width) as d:
                leave(self.sums, r * self.deep + start + d, self.scores, self._row(r * SIDE), d * SIDE)
            wait()
            self._write(start * SIDE, width * SIDE)
            wait()

    def _write(self, start: int, width: int) -> None:
        queries, longest = self.tile.queries, self.attention.longest
        threads, vectors = self.tile.simdgroups * SIMD_WIDTH, width // _LANES
        with T.serial(0, -(-queries * vectors // threads)) as n:
            at = n * threads + self.simdgroup * SIMD_WIDTH + self.lane
            row = at // vectors
            uneven = queries * vectors % threads != 0
            with (
                where(at < queries * vectors, uneven),
                where(self.first + row < longest, longest % queries != 0),
                T.vectorized(0, _LANES) as part,
            ):
                d = at % vectors * _LANES + part
                out = self.text * longest + self.first + row
                store(self.given.out, self.scores[row, d], out, self.head * self.attention.dim + start + d)
