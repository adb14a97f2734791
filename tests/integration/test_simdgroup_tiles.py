"""Which tiles of simdgroup matrices a target has room for."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from tvm.target import Target
from tvm.tirx.script.parser import entry

from tuner.kernels import intrinsics, ready_made, simdgroup
from tuner.kernels.simdgroup_tiles import TILES, TILES_OF_HALVES, Tile


def metal(**limits: int) -> Any:
    usual = {"max_threads_per_block": 1024, "thread_warp_size": 32, "max_shared_memory_per_block": 32768}
    return Target({"kind": "metal", "host": {"kind": "llvm"}, **usual, **limits})


FLAT = {"simdgroup-16x64x32", "simdgroup-16x64x16"}


def test_an_m1_has_room_for_all() -> None:
    assert simdgroup.tiles(metal()) == (*TILES, TILES_OF_HALVES[-1])


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        ({"max_threads_per_block": 96}, FLAT),
        ({"max_threads_per_block": 32}, set()),
        ({"max_shared_memory_per_block": 16384}, {"simdgroup-32x64x16", "simdgroup-32x32x32", *FLAT}),
    ],
)
def test_tiles_beyond_a_limit_are_left_out(limits: dict[str, int], left: set[str]) -> None:
    target = metal(**limits)
    assert {tile.name for tile in simdgroup.tiles(target)} == left
    assert {name for name in ready_made.names(target) if name.startswith("simdgroup")} == left


def test_only_metal_has_them() -> None:
    assert simdgroup.tiles(Target({"kind": "llvm"})) == ()
    assert not any(map(ready_made.is_name, ("simdgroup", "simdgroup-8x8x8")))


def test_threadgroup_memory_holds_both_slices_and_the_result() -> None:
    tile = Tile(rows=32, columns=64, depth=16, simd_rows=2, simd_columns=2)
    assert tile.shared_bytes(4) == 4 * (32 * (16 + 4) + 64 * (16 + 4) + 32 * 64)
    assert tile.shared_bytes(2) == 2 * (32 * (16 + 8) + 64 * (16 + 8) + 32 * 64)


@pytest.mark.parametrize("tile", TILES, ids=lambda tile: tile.name)
def test_threads_share_the_copying_evenly(tile: Tile) -> None:
    for elements in (tile.rows * tile.depth, tile.depth * tile.columns, tile.rows * tile.columns):
        assert elements % (tile.threads(32) * 4) == 0


def test_intrinsics_are_made_in_sight_of_the_stack_that_python_knows() -> None:
    """TVM's parser has a way of ours to look at it, which takes a tenth of the time."""
    intrinsics.import_on_demand()
    assert entry.inspect is not inspect
    ours, pythons = entry.inspect.stack(), inspect.stack()
    assert [tuple(one) for one in ours] == [tuple(one) for one in pythons]
