"""What a round reads and writes in the database. Each result is kept at once: whoever is killed next, it stays."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from rpc.versions import PINS
from tuner.db import canaries, clock, jobs, known, records
from tuner.db.engine import read, write
from tuner.db.models import Job, JobWorkload, Record, Round, Workload
from tuner.errors import NotFound
from tuner.measuring.measure import COLD_WEIGHT_BYTES, DeviceAddress, Measured
from tuner.measuring.outputs import RIGHT, Problem
from tuner.measuring.repeats import Repeats
from tuner.search.session import Proposal
from tuner.search.shipped import OF_RELATED
from tuner.search.transfer import Kernel

log = logging.getLogger(__name__)

_SEED_RECORDS = 256  # records a new session starts from, fastest first
_RELATED = 16  # other workloads that a new search looks at


@dataclass
class Task:
    """What a round needs to know, read once from the database."""

    round: Round
    job: Job
    workload: Workload
    target: Any
    device: DeviceAddress

    @property
    def cold_weights(self) -> bool:
        """Is the workload timed with its weights out of the caches?"""
        return self.workload.weight_bytes >= COLD_WEIGHT_BYTES

    @property
    def repeats(self) -> Repeats:
        """How its candidates are timed."""
        return Repeats.of(self.job.repeat, self.job.min_repeat_ms)

    @property
    def place(self) -> tuple[str, str]:
        """Where it runs and as what: another device of the same family is as fast as it is."""
        return (self.device.key, self.job.target_family)

    @property
    def own_only(self) -> str | None:
        """The job, if it is to use nothing but its own records."""
        return self.job.id if self.job.cold else None


class Journal:
    """The rows of rounds, records and workload counters, in one database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def rows(self, job_id: str, round_id: str) -> tuple[Round, Job, Workload]:
        """A round that the coordinator has planned. Raises NotFound naming it."""
        with read(self._engine) as db:
            round_, job = db.get(Round, round_id), db.get(Job, job_id)
            if round_ is None or job is None:
                raise NotFound(f"Round {round_id} of job {job_id} does not exist.")
            workload = db.get(Workload, round_.workload_id)
            assert workload is not None
        return round_, job, workload

    def tried(self, task: Task, after: int = 0) -> tuple[set[str], int]:
        """Candidates that are not to be proposed again, of records after that id; and up to which they were read."""
        family = task.job.target_family
        with read(self._engine) as db:
            up_to = known.last_id(db)
            return known.candidates(db, task.workload.id, family, task.own_only, after), up_to

    def known(self, task: Task) -> tuple[list[Record], list[Record]]:
        """What a new search starts from: the fastest records, and the seeds."""
        family = task.job.target_family
        with read(self._engine) as db:
            rows = records.best(db, task.workload.id, family, _SEED_RECORDS, task.own_only)
            seeds = [] if task.job.cold else records.seeds(db, task.workload.id, family)
        return rows, seeds

    def related(self, task: Task) -> list[Kernel]:
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

    def best_sec(self, task: Task) -> float | None:
        """The best time of the task's workload that its job knows."""
        with read(self._engine) as db:
            row = db.get(JobWorkload, (task.job.id, task.workload.id))
        return row.best_us * 1e-6 if row and row.best_us else None

    def keep(self, task: Task, proposal: Proposal, result: Measured, canary_ratio: float | None) -> None:
        """Keep one result: what was measured is never measured again."""
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
            evaluator=task.repeats.as_kept(task.cold_weights),
            canary_ratio=canary_ratio,
            measured_on=result.measured_on,
            job_id=task.job.id,
            round_id=task.round.id,
        )
        with write(self._engine) as db:
            if task.job.cold:
                records.append(db, row)
            else:
                records.add(db, row)
            jobs.count_trial(db, task.job.id, task.workload.id, None if seconds is None else seconds * 1e6)

    def approve(self, task: Task, proposal: Proposal) -> None:
        """Its outputs are right."""
        with write(self._engine) as db:
            records.judge(db, task.workload.id, task.job.target_family, proposal.id, *RIGHT)

    def usual_canary_sec(self, task: Task) -> float | None:
        """What the reference kernel usually takes where the task runs."""
        with read(self._engine) as db:
            return canaries.usual_sec(db, *task.place)

    def note_canaries(self, task: Task, seconds: Iterable[float]) -> None:
        """Keep what the reference kernel took in each session of a round."""
        with write(self._engine) as db:
            for sec in seconds:
                canaries.note(db, *task.place, sec)

    def reject(self, task: Task, proposal: Proposal, problem: Problem) -> None:
        """Its outputs are wrong: it is no candidate any more, and the best is another's time."""
        log.warning("candidate %s of %s is wrong: %s", proposal.id, task.workload.id, problem)
        with write(self._engine) as db:
            records.judge(db, task.workload.id, task.job.target_family, proposal.id, *problem)
            link = db.get(JobWorkload, (task.job.id, task.workload.id))
            assert link is not None
            db.flush()
            best = records.best(db, task.workload.id, task.job.target_family, job_id=task.own_only)
            link.best_us = best[0].mean_sec * 1e6 if best and best[0].mean_sec else None

    def finish(self, task: Task, exhausted: bool, **seconds: float) -> None:
        """Close the round's row; ``exhausted``: there is nothing left to try. A round that was run again after its
        process died has the records of both runs."""
        with write(self._engine) as db:
            row = db.get(Round, task.round.id)
            assert row is not None
            row.state, row.exhausted = "done", exhausted
            records.tally(db, row)
            row.search_sec, row.build_sec, row.measure_sec = (
                seconds["search_sec"],
                seconds["build_sec"],
                seconds["measure_sec"],
            )
            row.finished_at = clock.now(db)
