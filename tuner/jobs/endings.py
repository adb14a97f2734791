"""What the end of a task means for its job: rows are closed, then sums are drawn, then people are told."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy
from sqlmodel import Session

from tuner.db.engine import read
from tuner.db.models import Job, Round
from tuner.errors import DeviceUnavailable, ProcessLost, StorageFull
from tuner.jobs import ledger, tuning
from tuner.jobs.busy_time import BusyTime
from tuner.jobs.device_watch import DeviceWatch
from tuner.jobs.engine import Outcome
from tuner.jobs.forecast import Forecast
from tuner.jobs.leadership import Leadership
from tuner.jobs.messages import tuning_message
from tuner.jobs.tasks import Task
from tuner.state import TERMINAL

Rest = tuple[float, str]  # seconds that the job does nothing, and why
NO_REST: Rest = (0.0, "")
_TROUBLE_REST_SEC = 5.0  # what ended a stage may be over by then


class Endings:
    """Writes down how tasks ended, as the leader."""

    def __init__(
        self,
        database: sqlalchemy.Engine,
        lead: Leadership,
        devices: DeviceWatch,
        forecast: Forecast,
        busy: BusyTime,
    ) -> None:
        self._database = database
        self._lead = lead
        self._devices = devices
        self._forecast = forecast
        self._busy = busy

    def end(self, task: Task, outcome: Outcome, now: float) -> Rest:
        """A task ended at ``now``; one that the job has no use for any more changes nothing."""
        if _lacks_device(outcome):
            self._devices.note_silence(task.device_key, (outcome.error or {})["message"], now)
        return self._end_round(task, outcome, now) if task.is_round else self._end_stage(task, outcome)

    def end_killed(self, task: Task, why: str, now: float) -> None:
        """A task was ended with its process; for a job that goes on that counts as a death."""
        if task.is_round:
            self._busy.end(task.job_id, now)
        with self._lead.write() as session:
            job = session.get(Job, task.job_id)
            row = session.get(Round, task.key) if task.is_round else None
            if row is not None and row.state == "running":
                ledger.close_round(session, row, "lost", why)
            if job is None:
                return
            if job.wish != "cancel" and job.state not in TERMINAL:
                ledger.note_death(session, job, task.name, why)
        if row is not None:
            self._draw_sums(task.job_id, 0.0)

    def _end_stage(self, task: Task, outcome: Outcome) -> Rest:
        with self._lead.write() as session:
            job = session.get(Job, task.job_id)
            if job is None or not ledger.runs_stage(job, task.stage):
                return NO_REST
            if outcome.kind == "done":
                ledger.move(session, job, "done")
            elif outcome.kind == "failed" and _may_go_another_time(outcome):
                why = (outcome.error or {})["message"]
                ledger.note_death(session, job, task.name, why)
                return _TROUBLE_REST_SEC, f"waiting to run {task.name} again: {why}"
            elif outcome.kind == "failed" and not _lacks_device(outcome):
                ledger.move(session, job, "fail", error=outcome.error)
            elif outcome.kind == "lost":
                ledger.note_death(session, job, task.name)
            begins_tuning = outcome.kind == "done" and job.state == "tuning"
        if begins_tuning:
            self._tell_start(task.job_id)
        return NO_REST

    def _tell_start(self, job_id: str) -> None:
        with read(self._database) as session:
            job = session.get_one(Job, job_id)
            view = self._forecast.view(session, job)
        with self._lead.write() as session:
            job = session.get_one(Job, job_id)
            job.predicted_ms = tuning.predicted_ms(view.states)
            ledger.say(session, job, tuning_message(view.known_trials))

    def _end_round(self, task: Task, outcome: Outcome, now: float) -> Rest:
        busy_sec = self._busy.end(task.job_id, now)
        error = outcome.error or {}
        with self._lead.write() as session:
            job, row = session.get(Job, task.job_id), session.get(Round, task.key)
            if job is None or row is None:
                return NO_REST
            if row.state == "running":
                failed = outcome.kind == "failed" and not _lacks_device(outcome)
                ledger.close_round(session, row, "failed" if failed else "lost", error.get("message", ""))
            if job.state != "tuning":
                return NO_REST
            if row.state == "done":
                job.attempts = 0
            if row.measured:
                self._devices.note_round(session, task.device_key, ledger.killed_device(session, row))
        worked = row.state in ("done", "failed")  # how long nobody worked for a lost one is not known

        def judge(session: Session, job: Job, rounds: list[Round]) -> None:
            if job.state == "tuning":
                self._judge(session, job, task, outcome, rounds)

        rounds = self._draw_sums(task.job_id, busy_sec if worked else 0.0, row, judge)
        tail = tuning.failed_tail(rounds) if row.state == "failed" else []
        return tuning.rest_after(tail)

    def _judge(self, session: Session, job: Job, task: Task, outcome: Outcome, rounds: list[Round]) -> None:
        """May the job go on after such an end?"""
        error = outcome.error or {}
        if outcome.kind == "lost":
            ledger.note_death(session, job, task.name)
        elif error.get("code") == StorageFull.code:
            ledger.move(session, job, "pause", f"paused: {error['message']} {error['hint']}")
        elif len(tuning.failed_tail(rounds)) >= tuning.MAX_FAILED_ROUNDS:
            ledger.move(session, job, "fail", error=tuning.rounds_error(job.id, rounds).as_dict())

    def _draw_sums(
        self,
        job_id: str,
        busy_sec: float,
        ended: Round | None = None,
        judge: Callable[[Session, Job, list[Round]], None] = lambda *_: None,
    ) -> list[Round]:
        """Bring the job's sums up to date, tell of a round that ended, and judge the job by all that were; what the
        planner expects is asked outside of any transaction. Returns the job's rounds."""
        with read(self._database) as session:
            job = session.get_one(Job, job_id)
            view = self._forecast.view(session, job)
        fewest_left = self._forecast.fewest_left(job, view)
        with self._lead.write() as session:
            job = session.get_one(Job, job_id)
            job.tuning_sec += busy_sec
            ledger.book(session, job, view.courses, view.states)
            if ended is not None:
                ledger.tell_round(session, job, ended, len(view.rounds), fewest_left)
            judge(session, job, view.rounds)
        return view.rounds


def _may_go_another_time(outcome: Outcome) -> bool:
    """Was the stage ended by what happened to the machine: a helper killed, the disk full for a moment?"""
    return (outcome.error or {}).get("code") in (ProcessLost.code, StorageFull.code)


def _lacks_device(outcome: Outcome) -> bool:
    return (outcome.error or {}).get("code") == DeviceUnavailable.code
