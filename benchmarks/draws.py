"""Candidates drawn at random from a workload's whole space: what a search that knows nothing begins with."""

from __future__ import annotations

import random
from collections.abc import Container, Iterable
from typing import Any

from tvm.s_tir import meta_schedule as ms

from tuner.kernels import products, tiles
from tuner.kernels.context import Replay, candidate_id, make_context, make_target
from tuner.kernels.space import space_for
from tuner.kernels.workload import module_from_json

_BATCH, _BATCHES = 16, 64  # sketches with other decisions at a time, and how often: a small space has no more new ones


class Space:
    """The space of one workload, given as its TIR's JSON, on a target, given as TVM's JSON."""

    def __init__(self, tir: str, target: dict[str, Any]) -> None:
        self._mod = module_from_json(tir)
        self._target = make_target(target)
        self._replay = Replay(self._mod, self._target, space_for(self._target))

    def tiles(self, count: int, seed: int, known: Container[str] = ()) -> dict[str, str]:
        """Up to ``count`` register tiles, each as likely as any other, as candidate id and record JSON; none of those
        whose ids are ``known``, and none where the workload is no product."""
        product = products.find_product(self._mod)
        if product is None:
            return {}
        cpu = products.cpu_of(self._target)
        lanes = tiles.lanes_for(product, cpu)
        shuffled = tiles.tiles(product, cpu)
        random.Random(seed).shuffle(shuffled)
        drawn = (self._replay.post_process(products.schedule(self._mod, product, tile, lanes)) for tile in shuffled)
        return self._distinct((sch for sch in drawn if sch is not None), count, known)

    def sketches(self, count: int, seed: int, known: Container[str] = ()) -> dict[str, str]:
        """Up to ``count`` of MetaSchedule's sketches with random decisions, as its search starts from, likewise."""
        strategy = ms.search_strategy.ReplayTrace()
        one_thread = 1  # several share their random states by whose turn it is, so that a seed would not decide
        context = make_context(
            self._mod, self._target, space_for(self._target), strategy, seed + 1, one_thread, "draws"
        )
        context.pre_tuning(_BATCH * _BATCHES, _BATCH, context.generate_design_space())
        batches = (context.generate_measure_candidates() or () for _ in range(_BATCHES))
        return self._distinct((candidate.sch for batch in batches for candidate in batch), count, known)

    def _distinct(self, schedules: Iterable[Any], count: int, known: Container[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for schedule in schedules:
            if len(found) == count:
                break
            name = candidate_id(schedule)
            if name not in found and name not in known:
                found[name] = self._replay.trace_json(self._replay.candidate(schedule))
        return found
