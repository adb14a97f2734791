"""Which tiles of other products a product begins with, and how they are adapted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tuner.kernels import tiles
from tuner.kernels.tiles import Cpu, Product, Tile
from tuner.search import transfer
from tuner.search.transfer import Relative

CPU = Cpu(lanes=16, registers=32, cores=2)
LAYER = Product("matmul", 0, 1, rows=128, columns=768, depth=768, batch=1, constant=True)
TILE = Tile(rows=8, vectors=3, row_block=128, panels=1, depth=768, share="columns", stretch=96)
SHARED = replace(TILE, row_block=64, share="rows")


@pytest.mark.parametrize("rows", [32, 96, 384, 1024])
def test_a_tile_keeps_its_registers_and_its_part_of_the_rows_at_another_length(rows: int) -> None:
    target = replace(LAYER, rows=rows)
    relative = Relative(LAYER, [TILE, SHARED], namesake=True)
    found = transfer.first_tiles(target, tiles.tiles(target, CPU), [relative])
    assert found == [replace(TILE, row_block=rows), replace(SHARED, row_block=rows // 2)]


def test_what_does_not_divide_is_moved_to_what_does() -> None:
    target = replace(LAYER, rows=100, columns=320, depth=500)
    space = tiles.tiles(target, CPU)
    (found,) = transfer.first_tiles(target, space, [Relative(LAYER, [TILE], namesake=True)])
    assert found in space
    assert (found.rows, found.vectors) in {(10, 2), (5, 4), (5, 5)}
    assert (found.row_block, found.panels, found.depth, found.share) == (100, 1, 500, "columns")
    assert found.stretch > 0


def test_products_too_unlike_give_nothing() -> None:
    space = tiles.tiles(LAYER, CPU)
    one_row = Relative(replace(LAYER, rows=1), [replace(TILE, rows=1, row_block=1)], namesake=True)
    activation = Relative(replace(LAYER, constant=False), [replace(TILE, stretch=0)], namesake=True)
    assert transfer.first_tiles(LAYER, space, [one_row, activation]) == []


def test_a_few_come_from_several_closest_first_and_each_once() -> None:
    space = tiles.tiles(LAYER, CPU)
    best = [tile for tile in space if tile.vectors == 3][:3]
    blocks = [(8, 1), (8, 2), (4, 6)]
    others = [replace(TILE, rows=rows, vectors=vectors) for rows, vectors in blocks]
    relatives = [Relative(replace(LAYER, depth=1536), [tile], namesake=False) for tile in others]
    relatives.append(Relative(replace(LAYER, columns=3072), best[1:], namesake=True))
    relatives.append(Relative(replace(LAYER, columns=1536), best, namesake=True))
    found = transfer.first_tiles(LAYER, space, relatives)
    assert found[:3] == best
    assert [(tile.rows, tile.vectors) for tile in found[3:]] == blocks
    more = [Relative(replace(LAYER, batch=2), space[-2:], namesake=True), *relatives]
    assert len(transfer.first_tiles(LAYER, space, more)) == 6
