"""Which blocks of registers come first."""

from __future__ import annotations

import pytest

from tuner.kernels.block_shapes import promise

AVX2 = [(13, 1), (6, 2), (4, 2), (3, 3), (2, 4), (1, 6)]  # that fit fifteen registers


def first(rows: int | None, widened_lanes: int = 0) -> list[tuple[int, int]]:
    def promised(shape: tuple[int, int]) -> float:
        return promise(rows, *shape, widened_lanes)

    return sorted(AVX2, key=promised, reverse=True)


def test_a_block_of_any_number_of_rows_has_as_many_sums_for_a_load_as_can_be() -> None:
    assert set(first(None)[:2]) == {(6, 2), (3, 3)}


def test_blocks_of_one_size_come_before_as_good_ones_of_two() -> None:
    assert promise(12, 6, 2) > promise(13, 6, 2)


# Microseconds of 768 x 2304, weights cold, on two cores of a Zen 4 that are told to have AVX2 alone.
MEASURED = {
    16: {(13, 1): 209.2, (6, 2): 213.0, (4, 2): 217.4, (3, 3): 253.5, (2, 4): 248.4, (1, 6): 282.3},
    32: {(13, 1): 378.9, (6, 2): 396.0, (4, 2): 388.8, (3, 3): 427.8, (2, 4): 444.6, (1, 6): 514.5},
    128: {(13, 1): 1554.5, (6, 2): 1510.3, (4, 2): 1543.8, (3, 3): 1576.0},
}


@pytest.mark.parametrize("rows", MEASURED)
def test_where_vectors_are_widened_the_first_is_about_the_best_that_was_measured(rows: int) -> None:
    took = MEASURED[rows]
    order = [shape for shape in first(rows, widened_lanes=8) if shape in took]
    assert took[order[0]] <= 1.03 * min(took.values())
    assert set(order[:3]) == {(13, 1), (6, 2), (4, 2)}
