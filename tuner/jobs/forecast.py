"""The planner's view of a job, read from the database; what was measured before the job is read once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import takewhile

from sqlmodel import Session

from tuner.db import jobs
from tuner.db.models import Job, Round
from tuner.jobs import ledger, tuning
from tuner.jobs.course import Course, follow
from tuner.jobs.eta import fewest_trials
from tuner.jobs.tasks import only
from tuner.search.planner import WorkloadState

_LATE = 100  # rounds after a lost one, its process has written what it will write


@dataclass(frozen=True)
class View:
    """A job's workloads as the planner sees them, its rounds so far and what they came to by workload, and how many
    measurements it started from."""

    states: list[WorkloadState]
    rounds: list[Round]
    courses: dict[str, Course]
    known_trials: int


@dataclass
class _Past:
    """What does not change any more of a job: its rounds that have ended, oldest first, and what they came to."""

    known_trials: int
    courses: dict[str, Course]
    rounds: list[Round] = field(default_factory=list)


class Forecast:
    """Views of jobs; ``batch`` is how many earlier records count as one round."""

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._pasts: dict[str, _Past] = {}

    def view(self, session: Session, job: Job) -> View:
        """All that the planner needs to know of a job; of its rounds those are read that may have changed."""
        past = self._past(session, job)
        later = jobs.rounds(session, job.id, after=past.rounds[-1].number if past.rounds else -1)
        rounds = [*past.rounds, *later]
        courses = follow(later, past.courses)
        states = tuning.workload_states(jobs.workloads(session, job.id), courses)
        settled = list(takewhile(lambda row: _is_settled(row, rounds[-1].number), later))
        past.rounds += settled
        past.courses = follow(settled, past.courses)
        return View(states, rounds, courses, past.known_trials)

    def fewest_left(self, job: Job, view: View) -> int:
        """Trials that tuning takes at least, as things stand."""
        return fewest_trials(view.states, tuning.budget_left(job, view.courses, (), self._batch))

    def keep_only(self, job_ids: Collection[str]) -> None:
        """Forget all other jobs."""
        self._pasts = only(self._pasts, job_ids)

    def _past(self, session: Session, job: Job) -> _Past:
        if job.id not in self._pasts:
            times = ledger.earlier_times(session, job).items()
            histories = {workload_id: tuning.history(found, self._batch) for workload_id, found in times}
            courses = {workload_id: Course(found) for workload_id, found in histories.items() if found}
            self._pasts[job.id] = _Past(sum(one.known_trials for one in courses.values()), courses)
        return self._pasts[job.id]


def _is_settled(row: Round, newest: int) -> bool:
    """Will nobody write to this round any more? Those of releases that did not count them are read each time."""
    ended = row.state in ("done", "failed") or (row.state == "lost" and row.number < newest - _LATE)
    return ended and row.number > 0
