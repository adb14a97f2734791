"""Evolutionary search over MetaSchedule's sketches, for whatever is no product or whose tiles are exhausted."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from tvm.s_tir import meta_schedule as ms

from tuner.kernels.context import NO_SCHEDULE, make_context, record_from_json, tuning_record
from tuner.kernels.space import space_for

_POPULATION, _GENERATIONS = 128, 3  # a quarter of the stock search: on few cores search must not outweigh measuring
_MIN_UNMEASURED = 64
_UNLIMITED = 1 << 30


class Evolution:
    """One search; every candidate of ``next`` is answered by ``tell`` or ``skip``. ``at_random`` it draws from the
    sketches, and learns nothing."""

    def __init__(
        self, mod: Any, target: Any, cost_model: Any, batch: int, threads: int, seed: int, at_random: bool = False
    ) -> None:
        self._target = target
        self._cost_model = cost_model
        self._database = ms.database.MemoryDatabase()
        self._workload = self._database.commit_workload(mod)
        self._at_random = at_random
        evolution = ms.search_strategy.EvolutionarySearch(
            population_size=_POPULATION,
            init_min_unmeasured=_MIN_UNMEASURED,
            genetic_num_iters=_GENERATIONS,
        )
        strategy = ms.search_strategy.ReplayTrace() if at_random else evolution
        self.context = make_context(mod, target, space_for(target), strategy, seed, threads, "workload")
        self.context.pre_tuning(_UNLIMITED, batch, self.context.generate_design_space(), self._database, cost_model)

    def seed(self, records: Iterable[tuple[str, list[float]]]) -> None:
        """Start the population from records: JSON and run seconds. Those that sample nothing can't be mutated; they are
        left out, and so are damaged ones."""
        for trace, run_secs in records:
            if "Sample" not in trace:
                continue
            with suppress(*NO_SCHEDULE):
                self._database.commit_tuning_record(record_from_json(trace, self._workload, run_secs))

    def next(self) -> list[Any]:
        """A batch of candidates, best predicted first."""
        return list(self.context.generate_measure_candidates() or [])

    def skip(self, candidates: list[Any]) -> None:
        """Candidates that are not measured."""
        self._notify([(candidate, None) for candidate in candidates])

    def tell(self, results: list[tuple[Any, list[float] | None]]) -> None:
        """Candidates with their run seconds, None where they failed."""
        self._notify(results)
        for candidate, run_secs in results:
            if run_secs:
                record = tuning_record(candidate.sch.trace, self._workload, run_secs, self._target, candidate.args_info)
                self._database.commit_tuning_record(record)

    def fit(self, results: Iterable[tuple[Any, list[float] | None]]) -> None:
        """Teach the cost model, whoever proposed the candidates."""
        pairs = list(results)
        if not pairs or self._at_random:
            return
        self._cost_model.update(self.context, [c for c, _ in pairs], [_result(secs) for _, secs in pairs])

    def _notify(self, results: list[tuple[Any, list[float] | None]]) -> None:
        self.context.notify_runner_results([c for c, _ in results], [_result(secs) for _, secs in results])


def _result(run_secs: list[float] | None) -> Any:
    return ms.runner.RunnerResult(run_secs, None) if run_secs else ms.runner.RunnerResult(None, "failed")
