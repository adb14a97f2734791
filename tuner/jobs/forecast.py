"""The planner's view of a job, read from the database; what was measured before the job is read once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlmodel import Session

from tuner.db import jobs
from tuner.db.models import Job, Round
from tuner.jobs import ledger, tuning
from tuner.jobs.eta import fewest_trials
from tuner.jobs.tasks import only
from tuner.search.planner import WorkloadState

History = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class View:
    """A job's workloads as the planner sees them, its rounds so far, and how many measurements it started from."""

    states: list[WorkloadState]
    rounds: list[Round]
    known_trials: int


class Forecast:
    """Views of jobs; ``batch`` is how many earlier records count as one round."""

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._earlier: dict[str, dict[str, History]] = {}

    def view(self, session: Session, job: Job) -> View:
        """All that the planner needs to know of a job."""
        earlier, rounds = self._known_before(session, job), jobs.rounds(session, job.id)
        states = tuning.workload_states(jobs.workloads(session, job.id), rounds, earlier)
        return View(states, rounds, sum(history[-1][0] for history in earlier.values()))

    def fewest_left(self, job: Job, view: View) -> int:
        """Trials that tuning takes at least, as things stand."""
        return fewest_trials(view.states, tuning.budget_left(job, view.rounds, (), self._batch))

    def keep_only(self, job_ids: Collection[str]) -> None:
        """Forget all other jobs."""
        self._earlier = only(self._earlier, job_ids)

    def _known_before(self, session: Session, job: Job) -> dict[str, History]:
        if job.id not in self._earlier:
            histories = {
                workload_id: tuning.history(times, self._batch)
                for workload_id, times in ledger.earlier_times(session, job).items()
            }
            self._earlier[job.id] = {workload_id: found for workload_id, found in histories.items() if found}
        return self._earlier[job.id]
