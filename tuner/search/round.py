"""One round: a batch of candidates of one workload, from proposal to records. Kill what you will: results stay."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import Engine

from rpc.facts import physical_cores
from tuner.config import Settings
from tuner.db.models import Job
from tuner.kernels.context import make_target
from tuner.lengths import weights_of
from tuner.measuring.build_process import BuildJob, Built
from tuner.measuring.builder import BuildPool
from tuner.measuring.canary import Canaries
from tuner.measuring.measure import (
    DeviceAddress,
    Measured,
    Probe,
    measure,
)
from tuner.measuring.outputs import OutputCheck
from tuner.schemas.common import Strategy
from tuner.search.costmodel import make_cost_model
from tuner.search.journal import Journal, Task
from tuner.search.session import Proposal, SearchSession
from tuner.search.vetting import Vetting

log = logging.getLogger(__name__)

_MAX_SEARCHES = 64
_MAX_CHECKS = 16  # each holds what its workload must give for every kind of input: tens of megabytes for large ones


@dataclass
class _Search:
    """A search that is kept, and the id of the record up to which it knows what was tried."""

    session: SearchSession
    read_up_to: int = 0


K = TypeVar("K")
V = TypeVar("V")


class Tuner:
    """Runs rounds in this process; keeps searches, cost models and build processes warm between them.

    ``device_of`` says where a job's device is had; ``builders`` are used instead of new ones.
    """

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        device_of: Callable[[Job], DeviceAddress],
        builders: BuildPool | None = None,
    ) -> None:
        self._settings = settings
        self._journal = Journal(engine)
        self._device_of = device_of
        self._threads = physical_cores()
        workers = settings.build_workers or self._threads
        self.builders = builders or BuildPool(workers, settings.build_timeout_sec)
        self.vetting = Vetting(engine, self.builders)
        self._searches: dict[tuple[str, str], _Search] = {}
        self._cost_models: dict[str, Any] = {}
        self.canaries = Canaries(settings.root / "canaries", self.builders)
        self._checks: dict[tuple[str, str, str], OutputCheck] = {}

    def run(self, job_id: str, round_id: str) -> None:
        """Run a round that the coordinator has planned; its row, records and workload counters are written here."""
        task = self._task(job_id, round_id)
        if task.round.state != "running":  # closed meanwhile by a coordinator that gave it up for lost
            return
        folder = self._settings.jobs_dir / job_id / round_id
        try:
            self._run(task, folder)
        except BaseException:  # the search takes all it has proposed for tried; its successor goes by the records
            self._searches.pop((job_id, task.workload.id), None)
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def forget(self, job_id: str) -> None:
        """Let go of a job's searches: it is through with tuning."""
        self._searches = {key: search for key, search in self._searches.items() if key[0] != job_id}

    def _run(self, task: Task, folder: Path) -> None:
        started = time.monotonic()
        key = task.job.id, task.workload.id
        search = _kept(self._searches, key, _MAX_SEARCHES, lambda: _Search(self._session(task)))
        session = search.session
        known, search.read_up_to = self._journal.tried(task, search.read_up_to)
        session.avoid(known)
        prepared = time.monotonic()
        proposals, built = self._build(task, session, folder)
        finished_build = time.monotonic()
        outcomes = self._measure(task, proposals, built)
        measured = time.monotonic()
        session.tell([(p, outcomes[p.id].run_secs if p.id in outcomes else None) for p in proposals])
        self._check_best(task, session, proposals, outcomes, folder)
        self._journal.finish(
            task,
            session.is_exhausted,
            search_sec=prepared - started + time.monotonic() - measured,
            build_sec=finished_build - prepared,
            measure_sec=measured - finished_build,
        )

    def _task(self, job_id: str, round_id: str) -> Task:
        round_, job, workload = self._journal.rows(job_id, round_id)
        device = self._device_of(job)
        if job.timeout_sec is not None:
            device = replace(device, session_timeout_sec=job.timeout_sec)
        return Task(round_, job, workload, make_target(job.target_json), device)

    def _session(self, task: Task) -> SearchSession:
        """A search that knows what is on record."""
        family = task.job.target_family
        if family not in self._cost_models:
            self._cost_models[family] = make_cost_model(self._threads)
        rows, seeds = (
            self.vetting.usable(found, task.workload.tir, task.job.target_json) for found in self._journal.known(task)
        )
        session = SearchSession(
            task.workload.tir,
            task.target,
            self._cost_models[family],
            batch=self._settings.round_batch,
            threads=self._threads,
            seed=int(task.workload.id[-7:], 16) + 1,
            weights=weights_of(task.job),
            strategy=cast(Strategy, task.job.strategy),
        )
        session.learn([(row.candidate, row.trace, row.run_secs) for row in rows if row.trace])
        session.suggest(row.trace for row in seeds)
        if not rows and not task.job.cold:
            if session.is_written:
                session.favour(trace for kernel in self._journal.related(task) for trace in kernel.traces)
            elif session.is_product:
                session.follow(self.vetting.relatives(self._journal.related(task)))
        return session

    def _build(self, task: Task, session: SearchSession, folder: Path) -> tuple[list[Proposal], dict[str, Built]]:
        """A batch of proposals and what building each gave, done while the next is made."""
        target = json.dumps(task.job.target_json)
        proposals: list[Proposal] = []

        def jobs() -> Iterator[BuildJob]:
            for proposal in session.propose(task.round.batch):
                proposals.append(proposal)
                path = str(folder / proposal.id / f"{proposal.id}.so")
                yield BuildJob(proposal.tir, target, path, timeout_sec=task.job.timeout_sec)

        built = self.builders.build(jobs())
        return proposals, {p.id: result for p, result in zip(proposals, built, strict=True)}

    def _measure(self, task: Task, proposals: list[Proposal], built: dict[str, Built]) -> dict[str, Measured]:
        outcomes: dict[str, Measured] = {}
        usual_sec = self._journal.usual_canary_sec(task)

        def keep(proposal: Proposal, result: Measured) -> None:
            outcomes[proposal.id] = result
            ratio = result.canary_sec / (usual_sec or result.canary_sec) if result.canary_sec else None
            self._journal.keep(task, proposal, result, ratio)

        for proposal in proposals:
            failure = built[proposal.id]
            if failure.error_class:
                keep(proposal, Measured(error_class=failure.error_class, error=failure.error))
        probes = [
            Probe(n, built[p.id].path, p.arguments, p.points)
            for n, p in enumerate(proposals)
            if not built[p.id].error_class
        ]
        best = self._journal.best_sec(task)
        measure(
            task.device,
            probes,
            task.cold_weights,
            self.canaries.timer(task.job),
            best,
            lambda probe, result: keep(proposals[probe.number], result),
            task.repeats,
        )
        self._journal.note_canaries(task, {result.canary_sec for result in outcomes.values() if result.canary_sec})
        return outcomes

    def _check_best(
        self,
        task: Task,
        session: SearchSession,
        proposals: list[Proposal],
        outcomes: dict[str, Measured],
        folder: Path,
    ) -> None:
        """Compare the outputs of what became the best in this round with an unscheduled build; reject wrong ones."""
        timed = [(outcomes[p.id].seconds, p) for p in proposals if p.id in outcomes and outcomes[p.id].seconds]
        for seconds, proposal in sorted(timed, key=lambda pair: pair[0] or 0.0):
            best = self._journal.best_sec(task)
            if best is None or seconds is None or seconds * 1e6 > best * 1e6 + 1e-6:
                return
            check = _kept(
                self._checks, (*task.place, task.workload.id), _MAX_CHECKS, lambda: self._check(task, session)
            )
            problem = check.problem_of(proposal, folder)
            if problem is None:
                self._journal.approve(task, proposal)
                return
            self._journal.reject(task, proposal, problem)

    def _check(self, task: Task, session: SearchSession) -> OutputCheck:
        target, folder = json.dumps(task.job.target_json), self._settings.root / "checks"
        return OutputCheck(session.mod, target, task.device, self.builders, folder)


def _kept(cache: dict[K, V], key: K, most: int, make: Callable[[], V]) -> V:
    """What is kept under the key, made now if nothing is; of more than ``most`` the oldest goes."""
    if key not in cache:
        cache[key] = make()
        if len(cache) > most:
            del cache[next(iter(cache))]
    return cache[key]
