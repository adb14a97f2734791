"""Strategies go through all of a recording, by what they know and not by its order."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import tvm
from tvm import te

from benchmarks import strategies
from benchmarks.draws import Space
from tests.support.tuning import local_target, product
from tuner.graph.operators import softmax_last_axis
from tuner.kernels import rowwise
from tuner.kernels.context import Replay, candidate_id, make_target
from tuner.kernels.space import space_for
from tuner.search.replay import Candidate, Recording, replay, trials_to


def space(mod: Any) -> Space:
    return Space(str(tvm.ir.save_json(mod)), local_target())


def recording(mod: Any, drawn: dict[str, str], seconds: list[float]) -> Recording:
    timed = zip(drawn.items(), seconds, strict=True)
    candidates = {name: Candidate(name, trace, [sec], sec) for (name, trace), sec in timed}
    return Recording("wl-1", "product", "", str(tvm.ir.save_json(mod)), local_target(), candidates)


def test_a_cost_model_that_knows_nothing_is_no_better_than_chance() -> None:
    """A recording has the fastest first; an order by equal scores must not."""
    names = [f"{n:03}" for n in range(100)]
    candidates = {name: Candidate(name, "", [1.0 + n], 1.0 + n) for n, name in enumerate(names)}
    found = Recording("wl-1", "product", "", "", {}, candidates)
    pool: Any = SimpleNamespace(recording=found, candidates=dict.fromkeys(names), context=None)
    model = SimpleNamespace(predict=lambda context, asked: [0.0] * len(asked), update=lambda *told: None)
    ranked, chance = strategies.Ranked(pool, model, seed=1), strategies.AtRandom(pool, seed=1)
    needed = [trials_to(replay(strategy, found, batch=10), 1.0) for strategy in (ranked, chance)]
    assert needed[0] == needed[1]
    assert 10 < (needed[0] or 0) < 100


def test_our_search_goes_through_the_recorded_tiles_then_through_the_rest() -> None:
    mod = product(64, 256, 512)
    in_tiles, sketched = space(mod).tiles(20, seed=1), space(mod).sketches(20, seed=1)
    found = recording(mod, in_tiles | sketched, [1.0 + n for n in range(40)])
    asked: list[str] = []

    class Watched(strategies.OurSearch):
        def propose(self, count: int) -> list[str]:
            proposed = super().propose(count)
            asked.extend(proposed)
            return proposed

    steps = replay(Watched(strategies.Pool(found), seed=0), found, batch=16)
    assert set(asked[:20]) == set(in_tiles)
    assert set(asked[20:]) == set(sketched)
    assert steps[-1].trials == 40


def test_our_search_tries_nothing_but_the_schedules_of_rows_where_there_are_some() -> None:
    x = te.placeholder((8, 64), name="x")
    mod = tvm.IRModule({"main": te.create_prim_func([x, softmax_last_axis(x)]).with_attr("global_symbol", "main")})
    target = make_target(local_target())
    ours = Replay(mod, target, space_for(target))
    by_rows = rowwise.schedules(mod, target)
    sketched = space(mod).sketches(4, seed=1)
    names = [candidate_id(ours.post_process(schedule)) for schedule in by_rows]
    found = recording(mod, sketched, [1.0] * 4)
    trace = json.dumps([[[], []], None, local_target(), None])
    found.candidates |= {name: Candidate(name, trace, [2.0], 2.0) for name in names}
    assert len(replay(strategies.OurSearch(strategies.Pool(found), seed=0), found, batch=16)) == len(names)
