"""Orders in which a recording can be gone through: at random, as stock MetaSchedule ranks, as our search does."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm.s_tir import meta_schedule as ms

from rpc.facts import physical_cores
from tuner.search.context import Replay, make_context, make_target
from tuner.search.costmodel import make_cost_model
from tuner.search.replay import Candidate, Recording
from tuner.search.session import SearchSession
from tuner.search.space import space_for
from tuner.search.workload import module_from_json

STOCK_BATCH, OUR_BATCH = 64, 16
_EPSILON = 0.05  # part of a batch that goes to random candidates, as in the stock evolutionary search


class AtRandom:
    """No idea at all."""

    def __init__(self, pool: Pool, seed: int) -> None:
        self._left = list(pool.recording.candidates)
        random.Random(seed).shuffle(self._left)

    def propose(self, count: int) -> list[str]:
        """The next of a shuffled deck."""
        proposed, self._left = self._left[:count], self._left[count:]
        return proposed

    def tell(self, results: Mapping[str, Candidate]) -> None:
        """Learns nothing."""


class Pool:
    """A recording's candidates as cost models take them: made once, used by many replays."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.target = make_target(recording.target)
        mod = module_from_json(recording.tir)
        replay = Replay(mod, self.target, space_for(self.target))
        schedules = {name: replay.schedule(one.trace) for name, one in recording.candidates.items()}
        self.candidates = {name: replay.candidate(sch) for name, sch in schedules.items() if sch is not None}
        strategy = ms.search_strategy.ReplayTrace()
        self.context = make_context(mod, self.target, space_for(self.target), strategy, 1, physical_cores(), "replay")


class Ranked:
    """A cost model's order, refitted after each batch: evolution, reduced to the candidates that were recorded.

    The first batch, before the model knows anything, is random.
    """

    def __init__(self, pool: Pool, cost_model: Any, seed: int) -> None:
        self._left = dict(pool.candidates)
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
        else:
            self._random.shuffle(names)
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
    """Our own search as long as it proposes register tiles; what evolution is left with is ranked by our cost model."""

    def __init__(self, pool: Pool, seed: int) -> None:
        cores = physical_cores()
        model = make_cost_model(cores)
        self._session = SearchSession(pool.recording.tir, pool.target, model, OUR_BATCH, cores, seed + 1)
        self._rest = Ranked(pool, make_cost_model(cores), seed)
        self._recorded = set(pool.recording.candidates)
        self._tiles: dict[str, Any] = {}
        self._tiling = True

    def propose(self, count: int) -> list[str]:
        """Tiles that were recorded, in the order of our search; then the rest."""
        while self._tiling:
            proposals = list(self._session.propose(count))
            self._tiling = bool(proposals) and proposals[0].tile is not None
            self._tiles = {p.id: p for p in proposals if p.tile is not None and p.id in self._recorded}
            if self._tiles:
                return list(self._tiles)
        return self._rest.propose(count)

    def tell(self, results: Mapping[str, Candidate]) -> None:
        """Both learn from it."""
        self._rest.tell(results)
        told = [(self._tiles.pop(name), one.run_secs or None) for name, one in results.items() if name in self._tiles]
        if told:
            self._session.tell(told)


def stock(pool: Pool, seed: int) -> Ranked:
    """Batches and cost model as ``tune_relax`` has them."""
    return Ranked(pool, ms.cost_model.XGBModel(verbose_eval=0), seed)


def _result(candidate: Candidate) -> Any:
    secs = candidate.run_secs or None
    return ms.runner.RunnerResult(secs, None if secs else "failed")
