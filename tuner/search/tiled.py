"""The search among register tiles of a product: the most promising first, then those around the best."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import suppress
from random import Random
from typing import Any

from tuner.kernels import products, tiles
from tuner.kernels.context import NO_SCHEDULE
from tuner.kernels.tiles import Product, Tile
from tuner.search import transfer
from tuner.search.transfer import Kernel, Relative

_GUIDED = 0.5  # part of a batch that goes to neighbours of the best tiles
_PARENTS = 3
_GIVE_UP = 64  # tiles in a row without a better one end this search


class TiledSearch:
    """Tiles of one product in the order in which they should be measured.

    ``next`` hands a tile out once; ``tell`` gives its seconds, None where it failed. ``by_chance`` shuffles them: then
    nobody is followed, and nothing learned.
    """

    def __init__(self, mod: Any, target: Any, searched: bool = True, by_chance: Random | None = None) -> None:
        self._mod = mod
        self._product = products.find_product(mod) if searched and target.kind.name == "llvm" else None
        cpu = products.cpu_of(target)
        self._lanes = tiles.lanes_for(self._product, cpu) if self._product else 0
        self._waiting = tiles.tiles(self._product, cpu) if self._product else []
        self._is_guided = by_chance is None
        if by_chance is not None:
            by_chance.shuffle(self._waiting)
        self._seconds: dict[Tile, float] = {}
        self._fruitless = 0

    @property
    def is_product(self) -> bool:
        """Is there a product whose tiles can be searched?"""
        return self._product is not None

    @property
    def exhausted(self) -> bool:
        """Is nothing left that is worth a measurement?"""
        return not self._waiting or self._fruitless >= _GIVE_UP

    def follow(self, relatives: Sequence[Relative]) -> None:
        """Put first what was best for products like this one."""
        if self._product is not None and self._waiting and self._is_guided:
            first = transfer.first_tiles(self._product, self._waiting, relatives)
            self._waiting = list(dict.fromkeys([*first, *self._waiting]))

    def limit_to(self, known: Container[Tile]) -> None:
        """Leave out all other tiles: a replay has times of those on record only."""
        self._waiting = [tile for tile in self._waiting if tile in known]

    def schedule(self, tile: Tile) -> Any | None:
        """The workload's schedule by this tile, without post-processing; None where what follows the product can't be
        computed on its blocks."""
        assert self._product is not None
        with suppress(*NO_SCHEDULE):
            return products.schedule(self._mod, self._product, tile, self._lanes)
        return None

    def next(self, count: int) -> Iterator[Tile]:
        """Up to ``count`` tiles, neighbours of the best and promising ones in turn."""
        guided = self._neighbours()
        for index in range(count):
            if self.exhausted:
                return
            tile = next(guided, None) if index < count * _GUIDED else None
            tile = tile or self._waiting[0]
            self._waiting.remove(tile)
            yield tile

    def tell(self, tile: Tile, seconds: float | None) -> None:
        """What measuring a tile brought."""
        best = min(self._seconds.values(), default=float("inf"))
        if tile in self._waiting:
            self._waiting.remove(tile)
        if seconds is not None:
            self._seconds[tile] = seconds
        self._fruitless = 0 if seconds is not None and seconds < best else self._fruitless + 1

    def _neighbours(self) -> Iterator[Tile]:
        parents = sorted(self._seconds, key=self._seconds.__getitem__)[: _PARENTS if self._is_guided else 0]
        for parent in parents:
            for tile in tiles.neighbours(parent, list(self._waiting)):
                if tile in self._waiting:
                    yield tile


def relatives_among(kernels: Iterable[tuple[Kernel, Product | None]]) -> list[Relative]:
    """Those of the kernels that are products and have tiles on record; what can't be read is left out."""
    found = []
    for kernel, product in kernels:
        with suppress(*NO_SCHEDULE):
            best = [tile for trace in kernel.traces if (tile := products.tile_of(trace)) is not None]
            if product is not None and best:
                found.append(Relative(product, list(dict.fromkeys(best)), kernel.namesake))
    return found
