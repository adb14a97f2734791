"""The search among tiles, replayed on times that are known: it comes to good ones early, without a device."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import tvm
from tvm import te

from tests.support import cpus
from tuner.kernels import products, tiles
from tuner.kernels.context import make_target
from tuner.kernels.tiles import Tile
from tuner.search.replay import Candidate, Recording, replay, trials_to
from tuner.search.tiled import TiledSearch


class Tiled:
    """The search among tiles, as a strategy."""

    def __init__(self, search: TiledSearch) -> None:
        self._search = search
        self._asked: dict[str, Tile] = {}

    def propose(self, count: int) -> Sequence[str]:
        self._asked = {repr(tile): tile for tile in self._search.next(count)}
        return list(self._asked)

    def tell(self, results: Mapping[str, Candidate]) -> None:
        for name, one in results.items():
            self._search.tell(self._asked[name], one.seconds)


def product() -> tvm.IRModule:
    a, b = te.placeholder((64, 256), name="a"), te.placeholder((256, 512), name="b")
    k = te.reduce_axis((0, 256), "k")
    return tvm.IRModule(
        {"main": te.create_prim_func([a, b, te.compute((64, 512), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k))])}
    )


@cpus.each
def test_tiles_like_the_best_are_found_before_half_of_a_random_walk(cpu: dict[str, Any]) -> None:
    mod, target = product(), make_target(cpu)
    found = products.find_product(mod)
    assert found is not None
    space = tiles.tiles(found, products.cpu_of(target))
    random.Random(0).shuffle(space)
    seconds = {repr(tile): 1.0 + abs(tile.rows - 8) + abs(tile.vectors - 2) + tile.panels / 4 for tile in space}
    candidates = {name: Candidate(name, "", [sec], sec) for name, sec in seconds.items()}
    recording = Recording("wl-1", "product", "", "", {}, candidates)
    steps = replay(Tiled(TiledSearch(mod, target)), recording, batch=16)
    needed = trials_to(steps, 1.05 * recording.best_sec)
    good = sum(sec <= 1.05 * recording.best_sec for sec in seconds.values())
    assert needed is not None
    assert needed < len(seconds) / good / 2 or needed <= 16
