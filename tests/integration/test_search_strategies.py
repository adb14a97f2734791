"""How a search finds candidates by each strategy that a job may ask for."""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm.ir.utils import derived_object
from tvm.s_tir import meta_schedule as ms

from tests.support import cpus
from tests.support.tuning import product, row_sums
from tuner.kernels.context import make_target
from tuner.schemas.common import Strategy
from tuner.search.costmodel import make_cost_model
from tuner.search.session import Proposal, SearchSession

MOD = product(16, 32, 64)
STRATEGIES: tuple[tuple[Strategy, bool], ...] = (("evolution", True), ("random", False))  # and whether it has a plan


def noting(asked: list[str]) -> Any:
    """A cost model that notes what is asked of it, and knows nothing."""

    @derived_object
    class Model(ms.cost_model.PyCostModel):  # type: ignore[misc]
        def load(self, path: str) -> None: ...

        def save(self, path: str) -> None: ...

        def update(self, context: Any, candidates: Any, results: Any) -> None:
            asked.append("update")

        def predict(self, context: Any, candidates: Any) -> Any:
            asked.append("predict")
            return np.zeros(len(candidates))

    return Model()


def search(mod: Any, cpu: dict[str, Any], strategy: Strategy, model: Any = None, seed: int = 1) -> SearchSession:
    tir = str(tvm.ir.save_json(mod))
    return SearchSession(tir, make_target(cpu), model, batch=8, threads=1, seed=seed, strategy=strategy)


def gone_through(session: SearchSession, mostly: float, batches: int) -> list[Proposal]:
    """What is proposed while the ``mostly`` first seconds get longer with each."""
    found: list[Proposal] = []
    for _ in range(batches):
        batch = list(session.propose(8))
        session.tell([(one, [mostly * (len(found) + n + 1)]) for n, one in enumerate(batch)])
        found += batch
    return found


@cpus.each
def test_tiles_alone_end_with_the_tiles(cpu: dict[str, Any]) -> None:
    session = search(MOD, cpu, "tiles")
    while batch := list(session.propose(32)):
        assert all(one.tile is not None for one in batch)
        session.tell([(one, [1e-3]) for one in batch])
    assert session.is_exhausted


@cpus.each
def test_tiles_alone_leave_a_kernel_that_has_none_as_it_is(cpu: dict[str, Any]) -> None:
    session = search(row_sums(), cpu, "tiles")
    assert list(session.propose(4)) == []
    assert session.is_exhausted


@cpus.each
def test_evolution_alone_begins_a_product_without_tiles(cpu: dict[str, Any]) -> None:
    session = search(MOD, cpu, "evolution", make_cost_model(1))
    assert not session.is_product
    batch = list(session.propose(4))
    assert len(batch) == 4
    assert all(one.evolved and one.tile is None for one in batch)


@cpus.each
def test_at_random_tiles_come_in_no_order_and_nothing_is_learned(cpu: dict[str, Any]) -> None:
    in_order = [one.id for one in search(MOD, cpu, "auto").propose(8)]
    one, other = (gone_through(search(MOD, cpu, "random"), mostly, 3) for mostly in (1e-3, -1e-3))
    assert [p.id for p in one] == [p.id for p in other], "the times of the first were told, and changed the rest"
    assert [p.id for p in one[:8]] != in_order
    assert [p.id for p in search(MOD, cpu, "random", seed=2).propose(8)] != [p.id for p in one[:8]]


@cpus.each
def test_at_random_sketches_are_drawn_without_a_cost_model(cpu: dict[str, Any]) -> None:
    for strategy, thinks in STRATEGIES:
        asked: list[str] = []
        found = gone_through(search(row_sums(), cpu, strategy, noting(asked)), 1e-3, 2)
        assert found
        assert all(one.evolved for one in found)
        assert len({one.id for one in found}) == len(found)
        assert ("predict" in asked, "update" in asked) == (thinks, thinks)


@cpus.each
def test_at_random_no_seed_comes_first(cpu: dict[str, Any]) -> None:
    (seed, *_) = list(search(MOD, cpu, "auto").propose(1))
    for strategy, is_ordered in STRATEGIES:
        session = search(MOD, cpu, strategy, make_cost_model(1))
        session.suggest([seed.trace])
        assert (next(session.propose(1)).id == seed.id) == is_ordered
