"""Which tilings an Apple GPU can hold."""

from __future__ import annotations

import pytest

from tuner.kernels.threadgroup_tiles import ThreadgroupLimits, sampled_tiles, tile_fits

LIMITS = ThreadgroupLimits(threads=1024, simd_width=32)


def test_tile_of_a_good_product_fits() -> None:
    assert tile_fits([[4, 1, 8, 2, 4], [12, 2, 16, 2, 1]], LIMITS)


@pytest.mark.parametrize(
    ("tiles", "limits"),
    [
        pytest.param([[1, 1, 32, 1, 1], [1, 1, 64, 1, 1]], LIMITS, id="threads"),
        pytest.param(
            [[1, 1, 16, 1, 1], [1, 1, 32, 1, 1]], ThreadgroupLimits(256, 32), id="threads-of-a-restricted-target"
        ),
        pytest.param([[1, 4, 8, 1, 1], [1, 4, 8, 1, 1]], LIMITS, id="virtual-threads"),
        pytest.param([[1, 1, 8, 4, 4], [1, 1, 8, 8, 1]], LIMITS, id="accumulators-of-a-thread"),
        pytest.param([[1, 4, 8, 4, 2], [1, 2, 8, 2, 1]], LIMITS, id="accumulators-of-virtual-threads"),
        pytest.param([[1, 1, 32, 4, 2], [1, 1, 32, 4, 2]], LIMITS, id="registers-of-a-core"),
    ],
)
def test_tile_beyond_the_gpu_is_refused(tiles: list[list[int]], limits: ThreadgroupLimits) -> None:
    assert not tile_fits(tiles, limits)


def test_idle_lanes_hold_registers_too() -> None:
    tile = [[1, 1, 481, 8, 8]]  # 16 simdgroups of 96 registers a thread: 49152, just what there is
    assert tile_fits(tile, LIMITS)
    assert not tile_fits([[1, 1, 513, 8, 8]], LIMITS)


def test_schedule_without_a_tiled_product_fits() -> None:
    assert tile_fits([], LIMITS)


def test_only_spatial_tiles_count() -> None:
    decisions = [
        ("SamplePerfectTile", [2, 1, 8, 2, 2]),
        ("SamplePerfectTile", [24, 4, 8]),  # a reduction's
        ("SampleCategorical", 3),
    ]
    assert sampled_tiles(decisions) == [[2, 1, 8, 2, 2]]
