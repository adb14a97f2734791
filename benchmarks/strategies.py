"""Orders in which a recording can be gone through: at random, as stock MetaSchedule ranks, as our search does."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm.s_tir import meta_schedule as ms

from rpc.facts import physical_cores
from tuner.kernels import rowwise
from tuner.kernels.context import Replay, candidate_id, make_context, make_target
from tuner.kernels.products import tile_of
from tuner.kernels.space import space_for
from tuner.kernels.tiles import Tile
from tuner.kernels.workload import module_from_json
from tuner.search.costmodel import make_cost_model
from tuner.search.replay import Candidate, Recording
from tuner.search.tiled import TiledSearch

STOCK_BATCH, OUR_BATCH = 64, 16
_EPSILON = 0.05  # part of a batch that goes to random candidates, as in the stock evolutionary search


def shuffled(recording: Recording, seed: int) -> list[str]:
    """The candidates in an order that tells nothing of their times, the same for whoever asks.

    A recording has the fastest first. Where strategies know as little as each other, no luck shall set them apart.
    """
    names = sorted(recording.candidates)
    random.Random(seed).shuffle(names)
    return names


class AtRandom:
    """No idea at all."""

    def __init__(self, pool: Pool, seed: int) -> None:
        self._left = shuffled(pool.recording, seed)

    def propose(self, count: int) -> list[str]:
        """The next of a shuffled deck."""
        proposed, self._left = self._left[:count], self._left[count:]
        return proposed

    def tell(self, results: Mapping[str, Candidate]) -> None:
        """Learns nothing."""


class Pool:
    """A recording's candidates as cost models take them, the names of its ``tiles`` and of its row-wise schedules
    (``rows``): made once, used by many replays."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.mod = module_from_json(recording.tir)
        self.target = make_target(recording.target)
        replay = Replay(self.mod, self.target, space_for(self.target))
        schedules = {name: replay.schedule(one.trace) for name, one in recording.candidates.items()}
        self.candidates = {name: replay.candidate(sch) for name, sch in schedules.items() if sch is not None}
        strategy = ms.search_strategy.ReplayTrace()
        cores = physical_cores()
        self.context = make_context(self.mod, self.target, space_for(self.target), strategy, 1, cores, "replay")
        found = {name: tile_of(one.trace) for name, one in recording.candidates.items()}
        self.tiles = {tile: name for name, tile in found.items() if tile is not None}
        by_rows = [replay.post_process(schedule) for schedule in rowwise.schedules(self.mod, self.target)]
        names = [candidate_id(schedule) for schedule in by_rows if schedule is not None]
        self.rows = [name for name in names if name in recording.candidates]


class Ranked:
    """A cost model's order, refitted after each batch: evolution, reduced to the candidates that were recorded.

    The first batch, before the model knows anything, is random; so is the order of what it can't tell apart.
    """

    def __init__(self, pool: Pool, cost_model: Any, seed: int) -> None:
        names = shuffled(pool.recording, seed)
        self._left = {name: pool.candidates[name] for name in names if name in pool.candidates}
        self._asked: dict[str, Any] = {}
        self._context = pool.context
        self._cost_model = cost_model
        self._random = random.Random(seed)
        self._fitted = False

    def propose(self, count: int) -> list[str]:
        """Those the model likes best, and a few at random."""
        names = list(self._left)
        if not names:
            return []
        if self._fitted:
            scores = np.asarray(self._cost_model.predict(self._context, list(self._left.values())))
            names = [names[index] for index in np.argsort(-scores, kind="stable")]
            guesses = self._random.sample(names, min(len(names), round(count * _EPSILON)))
            names = [*guesses, *(name for name in names if name not in guesses)]
        proposed = names[:count]
        self._asked |= {name: self._left.pop(name) for name in proposed}
        return proposed

    def tell(self, results: Mapping[str, Candidate]) -> None:
        """Fit the model."""
        known = {name: self._asked.pop(name) if name in self._asked else self._left.pop(name, None) for name in results}
        pairs = [(known[name], one) for name, one in results.items() if known[name] is not None]
        if pairs:
            self._cost_model.update(self._context, [c for c, _ in pairs], [_result(one) for _, one in pairs])
            self._fitted = True


class OurSearch:
    """Our search among what was recorded: row-wise kernels by their few schedules and no others, products by register
    tiles until these bring no more and then, like all else, as our cost model ranks them."""

    def __init__(self, pool: Pool, seed: int) -> None:
        self._rows = list(pool.rows)
        self._has_rows = bool(pool.rows)
        self._names = pool.tiles
        self._tiled = TiledSearch(pool.mod, pool.target)
        self._tiled.limit_to(pool.tiles)
        self._asked: dict[str, Tile] = {}
        self._lessons: dict[str, Candidate] = {}
        self._rest = Ranked(pool, make_cost_model(physical_cores()), seed)

    def propose(self, count: int) -> list[str]:
        """Rows, tiles, or the rest, in the order of our search."""
        if self._has_rows:
            proposed, self._rows = self._rows[:count], self._rows[count:]
            return proposed
        self._asked = {self._names[tile]: tile for tile in self._tiled.next(count)}
        if self._asked:
            return list(self._asked)
        self._rest.tell(self._lessons)
        self._lessons.clear()
        return self._rest.propose(count)

    def tell(self, results: Mapping[str, Candidate]) -> None:
        """Tiles learn at once, the cost model when it is asked."""
        for name, tile in self._asked.items():
            self._tiled.tell(tile, results[name].seconds)
        self._lessons |= results


def stock(pool: Pool, seed: int) -> Ranked:
    """Batches and cost model as ``tune_relax`` has them: the model says nothing before it has seen 100 candidates."""
    return Ranked(pool, ms.cost_model.XGBModel(verbose_eval=0), seed)


def _result(candidate: Candidate) -> Any:
    secs = candidate.run_secs or None
    return ms.runner.RunnerResult(secs, None if secs else "failed")
