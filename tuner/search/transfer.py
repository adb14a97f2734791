"""What a product's search takes over from others of the same target family: the tiles that were best there. No TVM.

A tile is a decision about a core; most of it holds for another sequence length, batch or width too. What does not
divide the new product is moved to the nearest tile that does, and what comes out is measured like anything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log2

from tuner.kernels.tiles import Product, Tile

_MOST = 6  # tiles taken over in all
_OF_EACH = 2  # of one product, so that one that misleads leaves room for others
_FARTHEST = 6.0  # doublings between two products' extents over which nothing is taken over
_OTHER_NAME = 2.0  # what else is fused into a kernel counts as much as so many doublings
_REGISTERS = 4.0  # weight of a register block's shape beside the order in which blocks are visited
_OTHER_SHARE = 2.0


@dataclass(frozen=True)
class Kernel:
    """What is on record of another workload: its module's JSON, its best records' JSON, fastest first, and whether it
    is named like the one that is searched."""

    tir: str
    traces: Sequence[str]
    namesake: bool


@dataclass(frozen=True)
class Relative:
    """Another product with its best tiles, fastest first."""

    product: Product
    tiles: Sequence[Tile]
    namesake: bool


def first_tiles(product: Product, space: Sequence[Tile], relatives: Iterable[Relative]) -> list[Tile]:
    """The few tiles of a product's ``space`` to measure first, those of its closest relatives before others'."""
    near = [one for one in relatives if distance(product, one) <= _FARTHEST]
    found = [
        nearest(tile, one.product, product, space)
        for one in sorted(near, key=lambda one: distance(product, one))
        for tile in one.tiles[:_OF_EACH]
    ]
    return list(dict.fromkeys(found))[:_MOST]


def distance(product: Product, relative: Relative) -> float:
    """How unlike two products are, in doublings of their extents; infinite when only one's operand is a constant."""
    other = relative.product
    if product.constant != other.constant:
        return float("inf")
    extents = [(one.rows, one.columns, one.depth, one.batch) for one in (product, other)]
    return sum(map(_doublings, *extents)) + (0.0 if relative.namesake else _OTHER_NAME)


def nearest(tile: Tile, source: Product, product: Product, space: Sequence[Tile]) -> Tile:
    """The tile of a product's space most like ``tile`` of ``source``, the more promising of two equally so.

    Blocks of rows are compared as parts of all rows, since these are what the cores share or a panel is read again for.
    """

    def unlike(other: Tile) -> float:
        block = _doublings(tile.rows, other.rows) + _doublings(tile.vectors, other.vectors)
        visits = (
            _doublings(tile.row_block / source.rows, other.row_block / product.rows)
            + _doublings(tile.panels, other.panels)
            + _doublings(tile.depth, other.depth)
            + _doublings(tile.stretch or 1, other.stretch or 1)
        )
        return _REGISTERS * block + visits + (0.0 if tile.share == other.share else _OTHER_SHARE)

    return min(space, key=unlike)


def _doublings(one: float, other: float) -> float:
    return abs(log2(one / other))
