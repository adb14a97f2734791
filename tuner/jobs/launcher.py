"""Starts a job's next task: the row first, then the engine, so that whoever is killed between the two loses nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable
from typing import cast

import sqlalchemy

from tuner.config import Settings
from tuner.db import jobs
from tuner.db.engine import read
from tuner.db.jobs import ActiveJob
from tuner.db.models import Job, Round
from tuner.jobs import ledger, plan
from tuner.jobs.busy_time import BusyTime
from tuner.jobs.flight import Flight
from tuner.jobs.forecast import Forecast
from tuner.jobs.leadership import Leadership
from tuner.jobs.messages import message_of, tuning_message
from tuner.jobs.moments import stamp
from tuner.jobs.room import Applicant
from tuner.jobs.tasks import Task, needs_device, only, stage_key
from tuner.jobs.tuning import budget_left, resting
from tuner.schemas import JobState
from tuner.search.planner import Stop
from tuner.search.planner import plan as plan_rounds
from tuner.state import ROUND, STAGES
from tuner.targets import presets


class Launcher:
    """Knows what a job's next task would be, and starts it; ``clock`` is monotonic, in seconds."""

    def __init__(
        self,
        settings: Settings,
        database: sqlalchemy.Engine,
        lead: Leadership,
        flight: Flight,
        forecast: Forecast,
        busy: BusyTime,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._database = database
        self._lead = lead
        self._flight = flight
        self._forecast = forecast
        self._busy = busy
        self._clock = clock
        self._turn = itertools.count(1)
        self._turns: dict[str, int] = {}

    def device_key(self, job: Job | ActiveJob) -> str:
        """Where the job's device is had."""
        return presets.device_key_of(job.target, self._settings.device_key)

    def is_remote(self, job: Job | ActiveJob) -> bool:
        """Is its device another machine?"""
        return self.device_key(job) != self._settings.device_key

    def applicants(self, waiting: Iterable[ActiveJob]) -> list[Applicant]:
        """Jobs, in the order of ``jobs.active``, as ones that want room for their next tasks.

        Of those that have not begun the first speaks for all: they want the same, and none has had a turn.
        """
        found = []
        is_first = True
        for place, job in enumerate(waiting):
            if job.state != "submitted" or is_first:
                found.append(self._applicant(job, place))
                is_first = is_first and job.state != "submitted"
        return found

    def _applicant(self, job: ActiveJob, place: int) -> Applicant:
        ahead = 1 if job.state == "tuning" and self.is_remote(job) else 0
        turn = self._turns.get(job.id, 0)
        return Applicant(job.id, job.priority, turn, place, self._next_task(job), ahead)

    def _next_task(self, job: ActiveJob) -> Task:
        """What starting the job would submit, as far as it matters to others."""
        match job.state:
            case "submitted":
                return Task("", job.id, self._clock(), STAGES["importing"])
            case "tuning":
                return Task("", job.id, self._clock(), device_key=self.device_key(job))
        return self.stage_task(job, self._clock())

    def start(self, job: ActiveJob) -> bool:
        """Submit the job's stage or its next round; False when it has none to run now."""
        return self._start_round(job) if job.state == "tuning" else self._start_stage(job)

    def _start_stage(self, job: ActiveJob) -> bool:
        with self._lead.write() as session:
            row = jobs.get(session, job.id)
            if row.state == "submitted":
                ledger.move(session, row, "start")
            else:
                ledger.say(session, row, message_of(cast(JobState, row.state), row.compile_only))
            row.stage_stamp = stamp(self._clock())
        task = self.stage_task(row, self._clock())
        self._flight.submit(task, task.stage, job_id=row.id)
        return True

    def stage_task(self, job: Job | ActiveJob, since: float) -> Task:
        """The stage of the job's state, as started at ``since``."""
        state = cast(JobState, job.state)
        needed = needs_device(state, self.is_remote(job), job.compile_only)
        return Task(stage_key(job), job.id, since, STAGES[state], device_key=self.device_key(job) if needed else "")

    def round_task(self, row: Round, job: ActiveJob, since: float) -> Task:
        """A round of the job, as started at ``since``."""
        return Task(row.id, row.job_id, since, "", row.workload_id, row.batch, self.device_key(job))

    def _start_round(self, job: ActiveJob) -> bool:
        running = self._flight.of(job.id)
        with read(self._database) as session:
            row_of_job = jobs.get(session, job.id)
            view = self._forecast.view(session, row_of_job)
        budget = budget_left(row_of_job, view.courses, running, self._settings.round_batch)
        in_flight, seed = {task.workload_id for task in running}, f"{job.id}/{len(view.rounds)}"
        found = plan_rounds(view.states, budget, in_flight=in_flight | resting(view.rounds, view.courses), seed=seed)
        if found == []:  # nobody has the turns that these let pass
            found = plan_rounds(view.states, budget, in_flight=in_flight, seed=seed)
        if isinstance(found, Stop):
            if not running:
                after = plan.after_stop(job.id, found, view.rounds)
                self._lead.change(
                    job, lambda session, row: ledger.move(session, row, after.event, after.message, after.error)
                )
            return False
        for planned in found:
            now = self._clock()
            with self._lead.write() as session:
                row = ledger.new_round(session, job.id, planned, len(view.rounds) + 1, stamp(now))
                ledger.say(session, jobs.get(session, job.id), tuning_message(view.known_trials))
            self._busy.start(job.id, now)
            self._flight.submit(self.round_task(row, job, now), ROUND, job_id=job.id, round_id=row.id)
        return bool(found)

    def note_turn(self, job: ActiveJob) -> None:
        """The job got room just now: of equal ones the others come first."""
        self._turns[job.id] = next(self._turn)

    def keep_only(self, job_ids: Collection[str]) -> None:
        """Forget the turns of all other jobs."""
        self._turns = only(self._turns, job_ids)
