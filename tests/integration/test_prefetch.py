"""Requests for what a product reads next: where they are put, what they ask for, and that they change no result."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm.s_tir.transform import RemoveWeightLayoutRewriteBlock

from tests.support.tiny_imports import local_target
from tests.support.tuning import product
from tuner.kernels import products, tiles
from tuner.kernels.context import Replay, built_arguments, make_target
from tuner.kernels.prefetch import insert_prefetches
from tuner.kernels.space import space_for
from tuner.kernels.tiles import Tile

ROWS, DEPTH, COLUMNS = 16, 64, 128
TILE = Tile(rows=4, vectors=1, row_block=16, panels=1, depth=64, share="columns", stretch=16)


@pytest.fixture(scope="module")
def target() -> Any:
    return make_target(local_target())


def scheduled(target: Any, tile: Tile = TILE) -> Any:
    """The product by a tile, its constant packed, as a candidate is before the requests are put in."""
    mod = product(ROWS, DEPTH, COLUMNS)
    found = products.find_product(mod)
    assert found is not None
    replay = Replay(mod, target, space_for(target))
    schedule = replay.post_process(products.schedule(mod, found, tile, tiles.lanes_for(found, products.cpu_of(target))))
    assert schedule is not None
    return schedule.mod


def packed(mod: Any) -> Any:
    return RemoveWeightLayoutRewriteBlock(skip_tensor_rewrite=True)(mod)


def requests(mod: Any) -> list[str]:
    return re.findall(r"llvm\.prefetch.*", str(mod["main"].script()))


def test_tiles_of_a_constant_ask_ahead_and_those_of_an_activation_do_not() -> None:
    constant = product(2 * ROWS, DEPTH, COLUMNS)
    activation = tvm.IRModule({"main": constant["main"].without_attr("layout_free_buffers")})
    cpu = tiles.Cpu(lanes=16, registers=32, cores=2)
    found = [products.find_product(mod) for mod in (constant, activation)]
    assert found[0] is not None
    assert found[1] is not None
    assert tiles.tiles(found[0], cpu)[0].stretch > 0
    assert {tile.stretch for tile in tiles.tiles(found[1], cpu)} == {0}


def test_each_line_of_the_next_panel_is_asked_for_once(target: Any) -> None:
    found = requests(insert_prefetches(packed(scheduled(target))))
    formulas = [
        re.sub(r"T\.int64\((\d+)\)", r"\1", text.split("address_of(")[1].split("]")[0].split(", ")[-1])
        for text in found
    ]
    names = {name for formula in formulas for name in re.findall(r"[a-z]\w*", formula)}
    stretches, row_blocks = DEPTH // TILE.stretch, ROWS // TILE.rows
    asked = [
        eval(formula, {}, dict.fromkeys(names, 0) | {"i_1": row_block, "k_1_0": stretch})
        for row_block in range(row_blocks)
        for stretch in range(stretches)
        for formula in formulas
    ]
    panel = DEPTH * products.cpu_of(target).lanes
    assert sorted(asked) == list(range(panel, 2 * panel, 16))


def test_unmarked_and_unpacked_kernels_are_left_alone(target: Any) -> None:
    unmarked = packed(scheduled(target, Tile(4, 1, 16, 1, 64, "columns")))
    assert requests(insert_prefetches(unmarked)) == []
    rewrites_itself = scheduled(target)
    assert requests(insert_prefetches(rewrites_itself)) == []


def test_results_are_those_without_requests(target: Any, tmp_path: Path) -> None:
    candidate = scheduled(target)
    random = np.random.default_rng(0)
    arguments = [random.standard_normal(shape, dtype=dtype) for shape, dtype in built_arguments(candidate)]
    mod = packed(candidate)
    found = []
    for name, variant in (("plain", mod), ("asking", insert_prefetches(mod))):
        path = tmp_path / f"{name}.so"
        tvm.tirx.build(variant, target=target).export_library(str(path))
        arrays = [tvm.runtime.tensor(argument) for argument in arguments]
        tvm.runtime.load_module(str(path))["main"](*arrays)
        found.append(arrays[-1].numpy())
    assert np.array_equal(found[0], found[1])
