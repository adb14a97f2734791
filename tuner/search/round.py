"""One round: a batch of candidates of one workload, from proposal to records. Kill what you will: results stay."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Engine

from rpc.facts import physical_cores
from rpc.versions import PINS
from tuner.config import Settings
from tuner.db import records
from tuner.db.engine import read, write
from tuner.db.models import Job, JobWorkload, Record, Round, Workload, utcnow
from tuner.errors import NotFound
from tuner.kernels.context import make_target
from tuner.measuring.builder import BuildJob, BuildPool, Built
from tuner.measuring.canary import Canaries
from tuner.measuring.measure import (
    COLD_WEIGHT_BYTES,
    DeviceAddress,
    Measured,
    Probe,
    evaluator_settings,
    measure,
)
from tuner.measuring.outputs import OutputCheck
from tuner.search.costmodel import make_cost_model
from tuner.search.session import Proposal, SearchSession
from tuner.search.shipped import OF_RELATED
from tuner.search.transfer import Kernel

log = logging.getLogger(__name__)

_SEED_RECORDS = 256  # records a new session starts from, fastest first
_MAX_SESSIONS = 64
_MAX_CHECKS = 16  # each holds what its workload must give for every kind of input: tens of megabytes for large ones
_RELATED = 16  # other workloads that a new search looks at


@dataclass
class _Task:
    """What a round needs to know, read once from the database."""

    round: Round
    job: Job
    workload: Workload
    target: Any
    device: DeviceAddress

    @property
    def cold_weights(self) -> bool:
        return self.workload.weight_bytes >= COLD_WEIGHT_BYTES

    @property
    def place(self) -> tuple[str, str]:
        """Where it runs and as what: another device of the same family is as fast as it is."""
        return (self.device.key, self.job.target_family)

    @property
    def own_only(self) -> str | None:
        """The job, if it is to use nothing but its own records."""
        return self.job.id if self.job.cold else None


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
        self._engine = engine
        self._device_of = device_of
        self._threads = physical_cores()
        workers = settings.build_workers or self._threads
        self.builders = builders or BuildPool(workers, settings.build_timeout_sec)
        self._sessions: dict[tuple[str, str], SearchSession] = {}
        self._cost_models: dict[str, Any] = {}
        self.canaries = Canaries(settings.root / "canaries", self.builders)
        self._checks: dict[tuple[str, str, str], OutputCheck] = {}

    def run(self, job_id: str, round_id: str) -> None:
        """Run a round that the coordinator has planned; its row, records and workload counters are written here."""
        task = self._task(job_id, round_id)
        folder = self._settings.jobs_dir / job_id / round_id
        try:
            self._run(task, folder)
        except BaseException:  # the search takes all it has proposed for tried; its successor goes by the records
            self._sessions.pop((job_id, task.workload.id), None)
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def forget(self, job_id: str) -> None:
        """Let go of a job's searches: it is through with tuning."""
        self._sessions = {key: session for key, session in self._sessions.items() if key[0] != job_id}

    def _run(self, task: _Task, folder: Path) -> None:
        started = time.monotonic()
        session = _kept(self._sessions, (task.job.id, task.workload.id), _MAX_SESSIONS, lambda: self._session(task))
        with read(self._engine) as db:
            session.avoid(records.known_candidates(db, task.workload.id, task.job.target_family, task.own_only))
        prepared = time.monotonic()
        proposals, built = self._build(task, session, folder)
        finished_build = time.monotonic()
        outcomes = self._measure(task, proposals, built)
        measured = time.monotonic()
        session.tell([(p, outcomes[p.id].run_secs if p.id in outcomes else None) for p in proposals])
        self._check_best(task, session, proposals, outcomes, folder)
        self._finish(
            task,
            search_sec=prepared - started + time.monotonic() - measured,
            build_sec=finished_build - prepared,
            measure_sec=measured - finished_build,
        )

    def _task(self, job_id: str, round_id: str) -> _Task:
        with read(self._engine) as db:
            round_, job = db.get(Round, round_id), db.get(Job, job_id)
            if round_ is None or job is None:
                raise NotFound(f"Round {round_id} of job {job_id} does not exist.")
            workload = db.get(Workload, round_.workload_id)
            assert workload is not None
        return _Task(round_, job, workload, make_target(job.target_json), self._device_of(job))

    def _session(self, task: _Task) -> SearchSession:
        """A search that knows what is on record."""
        family = task.job.target_family
        if family not in self._cost_models:
            self._cost_models[family] = make_cost_model(self._threads)
        with read(self._engine) as db:
            rows = records.best(db, task.workload.id, family, _SEED_RECORDS, task.own_only)
            seeds = [] if task.job.cold else records.seeds(db, task.workload.id, family)
        session = SearchSession(
            task.workload.tir,
            task.target,
            self._cost_models[family],
            batch=self._settings.round_batch,
            threads=self._threads,
            seed=int(task.workload.id[-7:], 16) + 1,
        )
        session.learn([(row.candidate, row.trace, row.run_secs) for row in rows if row.trace])
        session.suggest(row.trace for row in seeds)
        if session.is_product and not rows and not task.job.cold:
            session.follow(self._others(task))
        return session

    def _others(self, task: _Task) -> list[Kernel]:
        """What was best for the workloads most like the task's."""
        family = task.job.target_family
        with read(self._engine) as db:
            return [
                Kernel(
                    other.tir,
                    [row.trace for row in records.best(db, other.id, family, OF_RELATED) if row.trace],
                    other.name == task.workload.name,
                )
                for other in records.related(db, task.workload, family, _RELATED)
            ]

    def _build(self, task: _Task, session: SearchSession, folder: Path) -> tuple[list[Proposal], dict[str, Built]]:
        """A batch of proposals and what building each gave, done while the next is made."""
        target = json.dumps(task.job.target_json)
        proposals: list[Proposal] = []

        def jobs() -> Iterator[BuildJob]:
            for proposal in session.propose(task.round.batch):
                proposals.append(proposal)
                yield BuildJob(proposal.tir, target, str(folder / proposal.id / f"{proposal.id}.so"))

        built = self.builders.build(jobs())
        return proposals, {p.id: result for p, result in zip(proposals, built, strict=True)}

    def _measure(self, task: _Task, proposals: list[Proposal], built: dict[str, Built]) -> dict[str, Measured]:
        outcomes: dict[str, Measured] = {}

        def keep(proposal: Proposal, result: Measured) -> None:
            outcomes[proposal.id] = result
            self._record(task, proposal, result)

        for proposal in proposals:
            failure = built[proposal.id]
            if failure.error_class:
                keep(proposal, Measured(error_class=failure.error_class, error=failure.error))
        probes = [
            Probe(n, built[p.id].path, p.arguments) for n, p in enumerate(proposals) if not built[p.id].error_class
        ]
        best = self._best_sec(task)
        measure(
            task.device,
            probes,
            task.cold_weights,
            self.canaries.timer(task.job),
            best,
            lambda probe, result: keep(proposals[probe.number], result),
        )
        return outcomes

    def _best_sec(self, task: _Task) -> float | None:
        with read(self._engine) as db:
            row = db.get(JobWorkload, (task.job.id, task.workload.id))
        return row.best_us * 1e-6 if row and row.best_us else None

    def _record(self, task: _Task, proposal: Proposal, result: Measured) -> None:
        """Keep one result at once: what was measured is never measured again, whoever is killed next."""
        seconds = result.seconds
        row = Record(
            workload_id=task.workload.id,
            target_family=task.job.target_family,
            target_json=task.job.target_json,
            device=task.device.key,
            candidate=proposal.id,
            trace=proposal.trace,
            run_secs=result.run_secs,
            mean_sec=seconds,
            error_class=result.error_class,
            error=result.error,
            tvm_version=PINS["apache-tvm"],
            evaluator=evaluator_settings(task.cold_weights),
            canary_ratio=self.canaries.ratio(task.place, result.canary_sec),
            job_id=task.job.id,
            round_id=task.round.id,
        )
        with write(self._engine) as db:
            if task.job.cold:
                records.replace(db, row)
            else:
                records.add(db, row)
            link = db.get(JobWorkload, (task.job.id, task.workload.id))
            assert link is not None
            link.trials += 1
            if seconds is not None and (link.best_us is None or seconds * 1e6 < link.best_us):
                link.best_us = seconds * 1e6

    def _check_best(
        self,
        task: _Task,
        session: SearchSession,
        proposals: list[Proposal],
        outcomes: dict[str, Measured],
        folder: Path,
    ) -> None:
        """Compare the outputs of what became the best in this round with an unscheduled build; reject wrong ones."""
        timed = [(outcomes[p.id].seconds, p) for p in proposals if p.id in outcomes and outcomes[p.id].seconds]
        for seconds, proposal in sorted(timed, key=lambda pair: pair[0] or 0.0):
            best = self._best_sec(task)
            if best is None or seconds is None or seconds * 1e6 > best * 1e6 + 1e-6:
                return
            check = _kept(
                self._checks, (*task.place, task.workload.id), _MAX_CHECKS, lambda: self._check(task, session)
            )
            problem = check.problem_of(proposal, folder)
            if problem is None:
                with write(self._engine) as db:
                    records.judge(db, task.workload.id, task.job.target_family, proposal.id, "")
                return
            self._reject(task, proposal, problem)

    def _check(self, task: _Task, session: SearchSession) -> OutputCheck:
        target, folder = json.dumps(task.job.target_json), self._settings.root / "checks"
        return OutputCheck(session.mod, target, task.device, self.builders, folder)

    def _reject(self, task: _Task, proposal: Proposal, problem: str) -> None:
        log.warning("candidate %s of %s is wrong: %s", proposal.id, task.workload.id, problem)
        with write(self._engine) as db:
            records.judge(db, task.workload.id, task.job.target_family, proposal.id, problem)
            link = db.get(JobWorkload, (task.job.id, task.workload.id))
            assert link is not None
            db.flush()
            best = records.best(db, task.workload.id, task.job.target_family, job_id=task.own_only)
            link.best_us = best[0].mean_sec * 1e6 if best and best[0].mean_sec else None

    def _finish(self, task: _Task, **seconds: float) -> None:
        """Close the round's row. A round that was run again after its process died has the records of both runs."""
        with write(self._engine) as db:
            row = db.get(Round, task.round.id)
            assert row is not None
            row.state = "done"
            records.tally(db, row)
            row.search_sec, row.build_sec, row.measure_sec = (
                seconds["search_sec"],
                seconds["build_sec"],
                seconds["measure_sec"],
            )
            row.finished_at = utcnow()


def _kept(cache: dict[K, V], key: K, most: int, make: Callable[[], V]) -> V:
    """What is kept under the key, made now if nothing is; of more than ``most`` the oldest goes."""
    if key not in cache:
        cache[key] = make()
        if len(cache) > most:
            del cache[next(iter(cache))]
    return cache[key]
