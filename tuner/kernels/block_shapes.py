"""Which blocks of registers a product of rows should be tried with first. Pure."""

from __future__ import annotations

_UNEVEN = 0.95  # what blocks of two sizes promise of as many sums in blocks of one: there is code for both
_LOADS, _OPERATIONS, _DECODED, _STREAMED = 2, 4, 6, 4.0  # of a core in a cycle; the last: bytes from memory
_OF_A_LOOP = 3  # instructions of a step beside the sums


def promise(rows: int | None, most: int, count: int, widened_lanes: int = 0) -> float:
    """What a usual block of at most so many rows by ``count`` vectors promises, for so many ``rows`` (None: any
    number): sums for each load or, where vectors of so many lanes are widened, for each cycle."""
    if rows is None:
        return most * count / (most + count)
    blocks = -(-rows // most)
    usual = rows / blocks
    if widened_lanes:
        return _widened(usual, count, blocks, widened_lanes)
    return usual * count / (usual + count) * (_UNEVEN if rows % blocks else 1.0)


def _widened(rows: float, count: int, blocks: int, lanes: int) -> float:
    """Of a panel's blocks: a product, its addition and a vector's widening are an operation each, and the first block
    waits for the panel.

    Measured on a Zen 4 by AVX2, weights cold, with 16, 32 and 128 rows of BERT-base's products: of eight shapes the one
    that promises most took at most 4 % longer than the best.
    """
    sums, loads = rows * count, rows + count
    busy = max(loads / _LOADS, (2 * sums + count) / _OPERATIONS, (2 * sums + loads + _OF_A_LOOP) / _DECODED)
    first = max(busy, 2 * count * lanes / _STREAMED)
    return blocks * sums / (busy * (blocks - 1) + first)
