"""Attention as one kernel: of each text and head, on the text's real length, scores never further than a cache.

A task is a head of a text. It brings the head's keys, transposed in panels, and its values together once; then, for
each block of queries, the scores of all keys, their softmax, and the sum of the values are computed while its scores
lie in the nearest cache (two passes over them: a row of the longest text fits, so that no sum is ever rescaled as in
Dao et al. 2022, "FlashAttention"). Both products keep a block of sums in registers.

Texts lie one after the other among the rows, ``starts`` tells where each begins; or they are all of one length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from tuner.graph.attention_kernel import Attention, Signature, body, declare
from tuner.kernels.emit import block, exponential, fold, scratch, store, vectors
from tuner.kernels.tiles import Cpu

_NO_SCORE = -3e38
_ROWS, _VECTORS = (8, 6, 12, 4), (2, 3, 4, 1)


@dataclass(frozen=True)
class AttentionTile:
    """A block of ``rows`` queries, times ``vectors`` of keys for the scores, times ``dims`` vectors of the head for the
    sums of values; ``lanes`` of a vector."""

    rows: int
    vectors: int
    dims: int
    lanes: int


def tiles(attention: Attention, cpu: Cpu) -> list[AttentionTile]:
    """All tiles that fit a core's registers, most promising first."""
    lanes = cpu.lanes
    while attention.dim % lanes:
        lanes //= 2
    width = attention.dim // lanes
    return [
        AttentionTile(rows, keys, dims, lanes)
        for dims in [n for n in (2, 4, 1) if width % n == 0]
        for keys in _VECTORS
        for rows in _ROWS
        if rows * max(keys, dims) + max(keys, dims) + 1 <= cpu.registers
    ]


def write(attention: Attention, tile: AttentionTile) -> Any:
    """The kernel, a PrimFunc with the arguments of ``attention_kernel.declare``."""
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        signature = declare(attention)
        with body("attention", signature.read, signature.out):
            _emit(signature, tile)
    return builder.get()


def _emit(given: Signature, tile: AttentionTile) -> None:
    attention = given.attention
    dim, longest = attention.dim, attention.longest
    panel = tile.vectors * tile.lanes
    most_panels = -(-longest // panel)
    with T.parallel(0, given.texts * attention.heads) as task:  # a core has whole heads of all texts, long and short
        head, text = T.bind(task // given.texts), T.bind(task % given.texts)
        start, length = given.span(text)
        here = _Head(given, tile, text, head, start, length)
        panels = T.bind((length + (panel - 1)) // panel) if attention.ragged else most_panels
        keys, values, added = scratch((most_panels, dim, panel)), scratch((longest, dim)), None
        here.gather_keys(keys, panels)
        here.gather_values(values)
        if given.bias is not None:
            added = scratch((most_panels * panel,))
            here.gather_bias(added)
        scores, total = scratch((tile.rows, most_panels * panel)), scratch((tile.rows,))
        queries = scratch((tile.rows, dim))
        with T.serial(0, (length + (tile.rows - 1)) // tile.rows) as first:
            here.gather_queries(queries, first)
            here.score(scores, queries, keys, added, panels)
            _softmax(scores, total, panels * tile.vectors, tile)
            here.sum_values(scores, total, values, first)


@dataclass(frozen=True)
class _Head:
    """One task: a head of the text of ``length`` rows from ``start`` on."""

    given: Signature
    tile: AttentionTile
    text: Any
    head: Any
    start: Any
    length: Any

    @property
    def attention(self) -> Attention:
        return self.given.attention

    def _read(self, of: tuple[int, int], row: Any, column: Any) -> Any:
        source, first = of
        return self.given.sources[source][self.start + row, first + self.head * self.attention.dim + column]

    def _row(self, first: Any, row: Any) -> Any:
        """The last block's rows past the end are the last row again: the same is written twice."""
        return T.min(first * self.tile.rows + row, self.length - 1)

    def gather_keys(self, keys: Any, panels: Any) -> None:
        panel = self.tile.vectors * self.tile.lanes
        with T.serial(0, panels) as p, T.serial(0, panel) as j, T.serial(0, self.attention.dim) as d:
            row = T.min(p * panel + j, self.length - 1)
            store(keys, self._read(self.attention.key, row, d), p, d, j)

    def gather_values(self, values: Any) -> None:
        lanes = self.tile.lanes
        with T.serial(0, self.length) as j, vectors(self.attention.dim // lanes, lanes) as d:
            store(values, self._read(self.attention.value, j, d), j, d)

    def gather_bias(self, added: Any) -> None:
        with T.serial(0, added.shape[0]) as j:
            value = self.given.added(self.text, self.head, 0, T.min(j, self.length - 1))
            store(added, T.if_then_else(j < self.length, value, T.float32(_NO_SCORE)), j)

    def gather_queries(self, queries: Any, first: Any) -> None:
        lanes, scale = self.tile.lanes, T.float32(self.attention.scale)
        with block(self.tile.rows, self.attention.dim // lanes, lanes) as (r, d):
            store(queries, self._read(self.attention.query, self._row(first, r), d) * scale, r, d)

    def score(self, scores: Any, queries: Any, keys: Any, added: Any, panels: Any) -> None:
        rows, count, lanes = self.tile.rows, self.tile.vectors, self.tile.lanes
        with T.serial(0, panels) as p:
            sums = scratch((rows, count * lanes))
            with block(rows, count, lanes) as (r, j):
                store(sums, T.float32(0), r, j)
            with T.serial(0, self.attention.dim) as d, block(rows, count, lanes) as (r, j):
                store(sums, sums[r, j] + queries[r, d] * keys[p, d, j], r, j)
            with block(rows, count, lanes) as (r, j):
                at = p * (count * lanes) + j
                if added is None:
                    store(scores, T.Select(at < self.length, sums[r, j], T.float32(_NO_SCORE)), r, at)
                else:
                    store(scores, sums[r, j] + added[at], r, at)

    def sum_values(self, scores: Any, total: Any, values: Any, first: Any) -> None:
        rows, count, lanes, dim = self.tile.rows, self.tile.dims, self.tile.lanes, self.attention.dim
        with T.serial(0, dim // lanes // count) as part:
            sums = scratch((rows, count * lanes))
            with block(rows, count, lanes) as (r, d):
                store(sums, T.float32(0), r, d)
            with T.serial(0, self.length) as j, block(rows, count, lanes) as (r, d):
                store(sums, sums[r, d] + scores[r, j] * values[j, part * (count * lanes) + d], r, d)
            with block(rows, count, lanes) as (r, d):
                column = self.head * dim + part * (count * lanes) + d
                store(self.given.out, sums[r, d] * total[r], self.start + self._row(first, r), column)


def _softmax(scores: Any, total: Any, count: Any, tile: AttentionTile) -> None:
    """Exponentials in place of ``count`` vectors of scores a row, and one divided by their sum in ``total``."""
    lanes = tile.lanes
    partial, peak = scratch((lanes,)), scratch((1,))
    with T.serial(0, tile.rows) as r:
        with T.vectorized(0, lanes) as lane:
            store(partial, T.float32(_NO_SCORE), lane)
        with T.serial(0, count) as c, T.vectorized(0, lanes) as lane:
            store(partial, T.max(partial[lane], scores[r, c * lanes + lane]), lane)
        fold(partial, lanes, T.max)
        store(peak, partial[0], 0)
        with T.vectorized(0, lanes) as lane:
            store(partial, T.float32(0), lane)
        with T.serial(0, count) as c:
            with T.vectorized(0, lanes) as lane:
                store(scores, exponential(scores[r, c * lanes + lane] - peak[0]), r, c * lanes + lane)
            with T.vectorized(0, lanes) as lane:
                store(partial, partial[lane] + scores[r, c * lanes + lane], lane)
        fold(partial, lanes, lambda a, b: a + b)
        store(total, T.float32(1) / partial[0], r)
