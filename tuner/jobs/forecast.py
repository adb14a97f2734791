"""The planner's view of a job, read from the database; what was measured before the job is read once."""

from __future__ import annotations

from collections.abc import Collection

from sqlmodel import Session

from tuner.db import jobs
from tuner.db.models import Job
from tuner.jobs import ledger, tuning
from tuner.jobs.eta import fewest_trials
from tuner.search.planner import WorkloadState

History = tuple[tuple[int, float], ...]


class Forecast:
    """Workload states of jobs; ``batch`` is how many earlier records count as one round."""

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._earlier: dict[str, dict[str, History]] = {}

    def states(self, session: Session, job: Job) -> list[WorkloadState]:
        """What the planner needs to know of the job's workloads."""
        return tuning.workload_states(
            jobs.workloads(session, job.id), jobs.rounds(session, job.id), self._known_before(session, job)
        )

    def fewest_left(self, session: Session, job: Job) -> int:
        """Trials that tuning takes at least, as things stand."""
        budget = tuning.budget_left(job, jobs.rounds(session, job.id), (), self._batch)
        return fewest_trials(self.states(session, job), budget)

    def known_trials(self, session: Session, job: Job) -> int:
        """How many measurements the job starts from."""
        return sum(history[-1][0] for history in self._known_before(session, job).values())

    def keep_only(self, job_ids: Collection[str]) -> None:
        """Forget all other jobs."""
        self._earlier = {job_id: found for job_id, found in self._earlier.items() if job_id in job_ids}

    def _known_before(self, session: Session, job: Job) -> dict[str, History]:
        if job.id not in self._earlier:
            histories = {
                workload_id: tuning.history(times, self._batch)
                for workload_id, times in ledger.earlier_times(session, job).items()
            }
            self._earlier[job.id] = {workload_id: found for workload_id, found in histories.items() if found}
        return self._earlier[job.id]
