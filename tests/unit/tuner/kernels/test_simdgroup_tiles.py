from __future__ import annotations

from dataclasses import replace

import pytest

from tuner.kernels.simdgroup_tiles import TILES, Gpu, Multiplication, by_cost, cost

M1 = Gpu()
OUTPUT = Multiplication(batch=1, rows=128, columns=768, depth=768, element_bytes=4)  # of BERT-base
LARGE, WIDE, SQUARE, FLAT = TILES


def test_what_a_threadgroup_computes_and_reads_is_counted() -> None:
    found = cost(LARGE, OUTPUT, M1)
    assert (found.threadgroups, found.turns) == (2 * 12, 3)
    assert found.flops == 2 * 64 * 64 * 768
    assert found.read_bytes == (64 + 64) * 768 * 4
    assert (found.resident, found.simdgroups) == (2, 8)  # 26 of 60 KiB each


def test_padding_counts_as_work() -> None:
    assert cost(LARGE, replace(OUTPUT, rows=65), M1) == cost(LARGE, OUTPUT, M1)
    assert cost(FLAT, replace(OUTPUT, depth=33), M1).flops == 2 * 16 * 64 * 64


@pytest.mark.parametrize("columns", [768, 2304, 3072])
def test_large_products_of_bert_take_the_tile_that_reads_least(columns: int) -> None:
    assert by_cost(TILES, replace(OUTPUT, columns=columns), M1)[0] == LARGE


def test_a_small_product_takes_smaller_tiles_that_keep_all_cores_busy() -> None:
    small = replace(OUTPUT, columns=384, depth=384)  # MiniLM's: twelve large tiles for eight cores
    assert by_cost(TILES, small, M1)[0] == WIDE
    assert by_cost(TILES, OUTPUT, Gpu(cores=32))[0] != LARGE


def test_every_product_of_bert_has_two_simdgroups_for_each_scheduler_of_an_m1() -> None:
    """And reads so little that arithmetic takes longer than bringing the operands."""
    projections = [replace(OUTPUT, columns=c, depth=d) for c, d in ((2304, 768), (768, 768), (3072, 768), (768, 3072))]
    scores = Multiplication(batch=12, rows=128, columns=128, depth=64, element_bytes=4)
    for one in (*projections, scores):
        best = cost(by_cost(TILES, one, M1)[0], one, M1)
        assert best.simdgroups >= M1.simdgroups_to_be_busy
        assert best.flops / M1.flops >= best.read_bytes / M1.far_bytes
