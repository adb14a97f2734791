"""The space of register tiles: what is in it, and in which order it is tried."""

from __future__ import annotations

from dataclasses import astuple, replace

import pytest

from tuner.kernels.tiles import Cpu, Product, cost, lanes_for, neighbours, tiles

AVX512, AVX2 = Cpu(lanes=16, registers=32, cores=2), Cpu(lanes=8, registers=16, cores=4)
LAYER = Product("matmul", 0, 1, rows=128, columns=768, depth=768, batch=1, constant=True)
ODD = replace(LAYER, rows=15, columns=40, depth=7)


@pytest.mark.parametrize("product", [LAYER, ODD], ids=["layer", "odd"])
@pytest.mark.parametrize("cpu", [AVX512, AVX2], ids=["avx512", "avx2"])
def test_every_tile_divides_its_product_and_fits_the_registers(product: Product, cpu: Cpu) -> None:
    found = tiles(product, cpu)
    assert found
    assert len(set(found)) == len(found)
    for tile in found:
        width = tile.vectors * lanes_for(product, cpu) * tile.panels
        assert (product.rows % tile.row_block, product.columns % width, product.depth % tile.depth) == (0, 0, 0)
        assert tile.row_block % tile.rows == 0
        assert tile.depth % (tile.stretch or 1) == 0
        assert tile.rows * tile.vectors + tile.vectors + 1 <= cpu.registers


def test_columns_that_no_vector_divides_have_no_tiles() -> None:
    assert tiles(replace(LAYER, columns=769), AVX512) == []
    assert lanes_for(replace(LAYER, columns=12), AVX512) == 4
    assert lanes_for(replace(LAYER, columns=12), AVX2) == 4


def test_only_a_constant_is_asked_for_ahead() -> None:
    """What the layout rewrite has packed lies in the loops' order; an activation does not."""
    assert any(tile.stretch for tile in tiles(LAYER, AVX512))
    assert not any(tile.stretch for tile in tiles(replace(LAYER, constant=False), AVX512))


def test_most_promising_tile_is_first_and_others_of_its_block_are_not_all_next() -> None:
    space = tiles(LAYER, AVX512)
    assert space[0] == min(space, key=lambda tile: cost(tile, LAYER, AVX512))
    blocks = [(tile.rows, tile.vectors) for tile in space[:16]]
    assert len(set(blocks)) > 3


def test_work_that_the_cores_can_not_share_evenly_costs_more() -> None:
    tile = next(one for one in tiles(LAYER, AVX512) if one.share == "rows" and one.row_block == 64)
    one_block = replace(tile, row_block=128)
    assert cost(one_block, LAYER, AVX512) > cost(tile, LAYER, AVX512)


def test_neighbours_differ_in_one_decision() -> None:
    space = tiles(LAYER, AVX512)
    found = neighbours(space[0], space)
    assert found
    assert all(sum(a != b for a, b in zip(astuple(space[0]), astuple(one), strict=True)) == 1 for one in found)
