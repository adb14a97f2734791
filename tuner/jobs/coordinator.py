"""``python -m tuner.jobs.coordinator``: the loop that turns decisions into tasks, and the ends of tasks into rows.

What to do is decided by pure functions (``plan``, ``state``, ``tuner.search.planner``); the database is the only truth.
Of several coordinators on one database only the one that holds the lease acts; its successor adopts the tasks it left.
"""

from __future__ import annotations

import itertools
import logging
import os
import platform
import secrets
import shutil
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

import sqlalchemy
from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from rpc.lifeline import die_with_parent
from rpc.logfile import start_logging
from rpc.loopback import is_loopback
from tuner.config import Settings
from tuner.db import jobs, leases
from tuner.db.engine import make_engine, read, write
from tuner.db.migrate import check_schema
from tuner.db.models import Job, utcnow
from tuner.errors import EngineUnavailable, TunerError
from tuner.jobs import ledger, plan
from tuner.jobs.device_watch import DeviceWatch, ask_tracker
from tuner.jobs.endings import end_killed, end_task
from tuner.jobs.engine import DaskEngine, Engine, Outcome
from tuner.jobs.forecast import Forecast
from tuner.jobs.messages import message_of, tuning_message
from tuner.jobs.plan import Situation
from tuner.jobs.room import Applicant, Room
from tuner.jobs.target_lookup import resolve_target
from tuner.jobs.tasks import Task, needs_device, stage_key
from tuner.jobs.tuning import budget_left
from tuner.schemas import JobState
from tuner.search.planner import Stop
from tuner.search.planner import plan as plan_rounds
from tuner.state import ROUND, STAGES
from tuner.targets import presets

log = logging.getLogger(__name__)

LEASE = "coordinator"
LEASE_TTL_SEC = 5.0
RENEW_EVERY_SEC = 1.5
TICK_SEC = 0.25
DISK_EVERY_SEC = 2.0
RETRY_SEC = 1.0


class Coordinator:
    """One candidate for the lease; ``tick`` does one pass. All that is kept in memory can be lost."""

    def __init__(
        self,
        settings: Settings,
        database: sqlalchemy.Engine,
        engine: Engine,
        devices: DeviceWatch,
        free_bytes: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
        owner: str = "",
    ) -> None:
        """``free_bytes`` says how much disk is left where the data directory is; ``clock`` is monotonic, in seconds."""
        self._settings = settings
        self._database = database
        self._engine = engine
        self._devices = devices
        self._free_bytes = free_bytes
        self._clock = clock
        self._owner = owner or f"{platform.node()}:{os.getpid()}:{secrets.token_hex(3)}"
        self._leads = False
        self._adopted = False
        self._renew_at = float("-inf")
        self._disk_at = float("-inf")
        self._storage_problem = ""
        self._engine_problem = ""
        self._slots = 0
        self._tasks: dict[str, Task] = {}
        self._outcomes: deque[Outcome] = deque()
        self._wishes: dict[str, tuple[str, float]] = {}
        self._forecast = Forecast(settings.round_batch)
        self._engine_is_here = is_loopback(str(urlsplit(settings.engine or "").hostname or "localhost"))
        self._turn = itertools.count(1)
        self._turns: dict[str, int] = {}
        self._on_disk: set[str] | None = None

    def tick(self) -> bool:
        """One pass; False when another coordinator holds the lease."""
        if not self._lead():
            return False
        self._devices.look(self._clock())
        self._look_at_disk()
        with read(self._database) as session:
            active = jobs.active(session)
        self._forget_all_but({job.id for job in active})
        if not active and not self._tasks:
            return True
        self._reach_engine(active)
        if self._reap():
            with read(self._database) as session:
                active = jobs.active(session)
        ids = {job.id for job in active}
        self._kill(tuple(task.key for task in self._tasks.values() if task.job_id not in ids), "the job has ended")
        waiting = [job for job in active if self._attend(job)]
        self._fill(waiting)
        return True

    def resign(self) -> None:
        """Give the lease back, so that a successor need not wait for its end; tasks run on."""
        if self._leads:
            with write(self._database) as session:
                leases.release(session, LEASE, self._owner)
        self._engine.close()

    def _lead(self) -> bool:
        now = self._clock()
        if self._leads and now < self._renew_at:
            return True
        with write(self._database) as session:
            leads = leases.acquire(session, LEASE, self._owner, LEASE_TTL_SEC)
        self._renew_at = now + RENEW_EVERY_SEC
        if leads and not self._leads:
            log.info("%s coordinates from now on", self._owner)
            self._tasks.clear()
            self._outcomes.clear()
            self._adopted = False
            self._devices.release_all()
        self._leads = leads
        return leads

    def _look_at_disk(self) -> None:
        if self._clock() - self._disk_at < DISK_EVERY_SEC:
            return
        self._disk_at = self._clock()
        free, least = self._free_bytes(), self._settings.min_free_bytes
        self._storage_problem = (
            f"{free / 2**20:.0f} MiB are free where {self._settings.root} is, less than the {least / 2**20:.0f} MiB "
            "that jobs need (TUNER_MIN_FREE_BYTES)."
            if free < least
            else ""
        )

    def _reach_engine(self, active: list[Job]) -> None:
        """Adopt what a predecessor left running, and take in what ended."""
        try:
            if not self._adopted:
                self._adopt(active)
                self._adopted = True
            self._outcomes.extend(self._engine.poll())
            self._slots = self._engine.slots()
            self._engine_problem = "" if self._slots else "waiting for a worker of the engine"
        except EngineUnavailable as error:
            self._engine_problem = f"waiting for the engine: {error.message} {error.hint}"

    def _adopt(self, active: list[Job]) -> None:
        with read(self._database) as session:
            rounds = [row for job in active for row in jobs.rounds(session, job.id, "running")]
        now = self._clock()
        found = [self._stage_task(job) for job in active if job.state in STAGES]
        keys = {job.id: self._device_key(job) for job in active}
        for row in rounds:
            since = now - (utcnow() - row.started_at).total_seconds()
            found.append(Task(row.id, row.job_id, since, "", row.workload_id, row.batch, keys[row.job_id]))
        self._engine.adopt([task.key for task in found])
        self._tasks.update({task.key: task for task in found})

    def _reap(self) -> bool:
        """Write down how tasks ended; an outcome that can't be written is kept for the next pass."""
        any_ended = bool(self._outcomes)
        while self._outcomes:
            outcome = self._outcomes[0]
            task = self._tasks.get(outcome.key)
            if task is not None:
                log.info("%s of %s: %s", task.stage or f"round {task.key}", task.job_id, outcome.kind)
                with write(self._database) as session:
                    end_task(session, task, outcome, self._devices, self._forecast, self._clock())
                del self._tasks[outcome.key]
            self._outcomes.popleft()
        return any_ended

    def _attend(self, job: Job) -> bool:
        """Do what is next for a job; True when that needs room in the engine."""
        situation = self._situation(job)
        match plan.decide(situation):
            case plan.RunStage() | plan.RunRounds():
                return True
            case plan.Kill(keys, why):
                self._kill(keys, why)
            case plan.Move(event, message, error):
                self._update(job, lambda session, row: ledger.move(session, row, event, message, error))
            case plan.DropWish():
                self._update(job, ledger.drop_wish)
            case plan.Wait(message) if message and message != job.message:
                self._update(job, lambda session, row: ledger.say(session, row, message))
        return False

    def _situation(self, job: Job) -> Situation:
        now = self._clock()
        wish, since = self._wishes.get(job.id, ("", now))
        if wish != job.wish:
            self._wishes[job.id] = (job.wish, now)
            since = now
        return Situation(
            job_id=job.id,
            state=cast(JobState, job.state),
            wish=job.wish,
            wish_age_sec=now - since,
            running=tuple(task for task in self._tasks.values() if task.job_id == job.id),
            now=now,
            engine_problem=self._engine_problem,
            device_problem=self._devices.problem(self._device_key(job)),
            storage_problem=self._storage_problem,
            target_known=bool(job.target_family) or job.state != "submitted" or self._resolve(job),
            remote=self._is_remote(job),
            compile_only=job.compile_only,
        )

    def _kill(self, keys: tuple[str, ...], why: str) -> None:
        for key in keys:
            try:
                self._engine.cancel(key)
            except EngineUnavailable as error:
                log.warning("%s can't be ended: %s", key, error.message)
            with write(self._database) as session:
                end_killed(session, self._tasks[key], why, self._forecast)
            del self._tasks[key]

    def _fill(self, waiting: list[Job]) -> None:
        """Give the engine's free room to jobs; with several devices a job that tunes may get several rounds."""
        left = {job.id: job for job in waiting}
        room = Room(
            self._slots, self._device_counts(waiting), self._settings.device_key if self._engine_is_here else ""
        )
        try:
            while found := room.next([self._applicant(job) for job in left.values()], self._tasks.values()):
                job = left[found.job_id]
                started = self._start(job)
                if started:
                    self._turns[job.id] = next(self._turn)
                if not started or job.state != "tuning":
                    del left[job.id]
        except EngineUnavailable as error:
            log.warning("%s", error.message)

    def _device_counts(self, waiting: list[Job]) -> dict[str, int]:
        keys = {self._device_key(job) for job in waiting}
        return {key: self._devices.count(key) for key in keys}

    def _applicant(self, job: Job) -> Applicant:
        ahead = 1 if self._is_remote(job) and job.state == "tuning" else 0
        return Applicant(job.id, job.priority, self._turns.get(job.id, 0), job.created_at, self._next_task(job), ahead)

    def _next_task(self, job: Job) -> Task:
        """What starting the job would submit, as far as it matters to others."""
        match job.state:
            case "submitted":
                return Task("", job.id, self._clock(), STAGES["importing"])
            case "tuning":
                return Task("", job.id, self._clock(), device_key=self._device_key(job))
        return self._stage_task(job)

    def _start(self, job: Job) -> bool:
        """Submit the job's stage or its next round; False when it has none to run now."""
        return self._start_round(job) if job.state == "tuning" else self._start_stage(job)

    def _start_stage(self, job: Job) -> bool:
        with write(self._database) as session:
            row = jobs.get(session, job.id)
            if row.state == "submitted":
                ledger.move(session, row, "start")
            else:
                ledger.say(session, row, message_of(cast(JobState, row.state), row.compile_only))
        task = self._stage_task(row)
        self._submit(task, task.stage, job_id=row.id)
        return True

    def _stage_task(self, job: Job) -> Task:
        state = cast(JobState, job.state)
        needed = needs_device(state, self._is_remote(job), job.compile_only)
        device_key = self._device_key(job) if needed else ""
        return Task(stage_key(job), job.id, self._clock(), STAGES[state], device_key=device_key)

    def _start_round(self, job: Job) -> bool:
        running = [task for task in self._tasks.values() if task.job_id == job.id]
        with read(self._database) as session:
            states = self._forecast.states(session, job)
            rounds = jobs.rounds(session, job.id)
        budget = budget_left(job, rounds, running, self._settings.round_batch)
        found = plan_rounds(
            states, budget, in_flight={task.workload_id for task in running}, seed=f"{job.id}/{len(rounds)}"
        )
        if isinstance(found, Stop):
            if not running:
                after = plan.after_stop(job.id, found, rounds)
                self._update(
                    job, lambda session, row: ledger.move(session, row, after.event, after.message, after.error)
                )
            return False
        for planned in found:
            with write(self._database) as session:
                row = ledger.new_round(session, job, planned.workload_id, planned.batch)
                message = tuning_message(self._forecast.known_trials(session, job))
                ledger.say(session, jobs.get(session, job.id), message)
            task = Task(row.id, job.id, self._clock(), "", planned.workload_id, planned.batch, self._device_key(job))
            self._submit(task, ROUND, job_id=job.id, round_id=row.id)
        return bool(found)

    def _submit(self, task: Task, name: str, **kwargs: str) -> None:
        self._tasks[task.key] = task
        try:
            self._engine.submit(task.key, name, **kwargs)
        except EngineUnavailable:
            self._outcomes.append(Outcome(task.key, "gone"))
            raise

    def _update(self, job: Job, change: Callable[[Session, Job], None]) -> None:
        """Write down what was decided on a job, unless it is another by now: then the next pass decides anew."""
        with write(self._database) as session:
            row = jobs.get(session, job.id)
            if (row.state, row.wish) == (job.state, job.wish):
                change(session, row)

    def _resolve(self, job: Job) -> bool:
        """Find out what the job's target is, if its device has said what it is."""
        with read(self._database) as session:
            target = resolve_target(session, self._settings, job.target)
        if target.family:
            with write(self._database) as session:
                ledger.set_target(session, jobs.get(session, job.id), target.tvm, target.family)
        return bool(target.family)

    def _device_key(self, job: Job) -> str:
        return presets.device_key_of(job.target, self._settings.device_key)

    def _is_remote(self, job: Job) -> bool:
        return self._device_key(job) != self._settings.device_key

    def _forget_all_but(self, job_ids: set[str]) -> None:
        self._forecast.keep_only(job_ids)
        self._turns = {job_id: turn for job_id, turn in self._turns.items() if job_id in job_ids}
        self._wishes = {job_id: wish for job_id, wish in self._wishes.items() if job_id in job_ids}
        if job_ids != self._on_disk:
            self._on_disk = job_ids
            for folder in self._settings.jobs_dir.glob("*"):
                if folder.name not in job_ids:
                    shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Coordinate until a signal; tasks that run then are adopted by the next coordinator."""
    die_with_parent()
    settings = Settings()
    start_logging(settings.log_level)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # a lost connection is ours to report
    if settings.engine is None:
        sys.exit("No engine: set TUNER_ENGINE to a Dask scheduler, or start everything with `tunesmith serve`.")
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    check_schema(settings)
    database = make_engine(settings)
    engine = DaskEngine(settings.engine, settings)
    coordinator = Coordinator(
        settings,
        database,
        engine,
        DeviceWatch(
            database,
            lambda: ask_tracker(settings.tracker_host, settings.tracker_port),
            settings.device_key,
            f"{settings.tracker_host}:{settings.tracker_port}",
        ),
        free_bytes=lambda: shutil.disk_usage(settings.root).free,
    )
    while not stopped.is_set():
        try:
            coordinator.tick()
        except (TunerError, OperationalError) as error:
            # A full disk or a database that is away for a moment: nothing is lost, the next pass tries again.
            log.error("%s", error)
            stopped.wait(RETRY_SEC)
        engine.wait(TICK_SEC)
    coordinator.resign()


if __name__ == "__main__":
    main()
