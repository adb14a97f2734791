"""The loop that turns decisions into tasks, and the ends of tasks into rows.

What to do is decided by pure functions (``plan``, ``room``, ``tuner.search.planner``); the database is the only truth.
Of several coordinators on one database only the one that leads acts; its successor adopts the tasks it left.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from typing import cast
from urllib.parse import urlsplit

import sqlalchemy
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from rpc.loopback import is_loopback
from tuner.config import Settings
from tuner.db import jobs
from tuner.db.engine import read
from tuner.db.jobs import ActiveJob
from tuner.errors import EngineUnavailable, TunerError
from tuner.jobs import job_folders, ledger, plan
from tuner.jobs.busy_time import BusyTime
from tuner.jobs.checks import Checks
from tuner.jobs.device_watch import DeviceWatch
from tuner.jobs.disk_watch import DiskWatch
from tuner.jobs.endings import Endings
from tuner.jobs.engine import Engine
from tuner.jobs.fetches import Fetches
from tuner.jobs.flight import Flight
from tuner.jobs.forecast import Forecast
from tuner.jobs.launcher import Launcher
from tuner.jobs.leadership import Leadership, NotLeading
from tuner.jobs.messages import message_of
from tuner.jobs.model_files import ModelFiles
from tuner.jobs.moments import reading
from tuner.jobs.plan import Situation
from tuner.jobs.room import Room
from tuner.jobs.sayings import Sayings
from tuner.jobs.target_lookup import resolve_target
from tuner.jobs.tasks import only
from tuner.jobs.tidying import Tidying
from tuner.schemas import JobState
from tuner.state import STAGES
from tuner.targets.presets import Target

log = logging.getLogger(__name__)

FAULT_REST_SEC = 5.0  # before a job that could not be looked at is looked at again


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
        fetches: Fetches | None = None,
    ) -> None:
        """``free_bytes`` says how much disk is left where the data directory is; ``clock`` is monotonic, in seconds."""
        owner = owner or f"{platform.node()}:{os.getpid()}:{secrets.token_hex(3)}"
        self._settings, self._database, self._devices, self._clock = settings, database, devices, clock
        self._lead = Leadership(database, owner, clock)
        self._leads, self._term = False, 0
        self._flight = Flight(engine)
        self._sayings = Sayings(self._lead)
        self._files = ModelFiles(settings, database, self._lead, fetches or Fetches(settings))
        self._disk = DiskWatch(free_bytes, settings.min_free_bytes, settings.root)
        self._forecast = Forecast(settings.round_batch)
        self._busy = BusyTime()
        self._endings = Endings(database, self._lead, devices, self._forecast, self._busy)
        self._launcher = Launcher(settings, database, self._lead, self._flight, self._forecast, self._busy, clock)
        self._engine_is_here = is_loopback(str(urlsplit(settings.engine or "").hostname or "localhost"))
        self._wishes: dict[str, tuple[str, float]] = {}
        self._rests: dict[str, tuple[float, str]] = {}  # until when a job starts nothing, and why
        self._faulty_until: dict[str, float] = {}  # until when a job is not even looked at
        self._tidying = Tidying(settings, database)
        self._checks = Checks(settings, database, self._lead, devices)
        self._targets: dict[str, Target] = {}  # what names meant in this pass
        self._ready: dict[str, ActiveJob] = {}  # jobs that lacked nothing but room, as they were
        self._ready_amid: tuple[str, str] | None = None  # and what was wrong with engine and disk then
        self._on_disk: set[str] | None = None

    def tick(self) -> bool:
        """One pass; False when another coordinator leads."""
        self._leads = False
        try:
            if self._lead.take():
                self._pass()
                self._leads = True
        except NotLeading:
            log.warning("another coordinator has taken over in the middle of a pass")
        if not self._leads:
            self._close()
        return self._leads

    def note(self) -> str:
        """JSON for `tuner.jobs.readiness`: workers of the engine (null: it does not answer), if it is ours to know."""
        return json.dumps({"workers": self._flight.workers} if self._leads else {})

    def resign(self) -> None:
        """Let a successor take over at once; tasks run on."""
        self._lead.resign()
        self._close()
        self._flight.close()

    def _close(self) -> None:
        self._files.close()
        self._checks.close()

    def _pass(self) -> None:
        self._devices.look(self._clock())
        self._checks.look(self._clock())
        if self._term != self._lead.term:
            self._begin(self._active())
        self._flight.reach()
        self._reap()
        active = self._active()
        self._forget_all_but({job.id for job in active})
        if self._files.look(active, self._clock(), self._disk.problem(self._clock())):
            active = self._active()
        self._tidying.turn(self._clock(), is_idle=not self._flight.occupying())
        if not active and not self._flight:
            return
        for key in self._flight.strays({job.id for job in active}):
            self._kill(key, "the job has ended")
        now = self._clock()
        self._targets.clear()
        amid = self._flight.problem, self._disk.problem(now)
        if amid != self._ready_amid:
            self._ready, self._ready_amid = {}, amid
        sound = [job for job in active if now >= self._faulty_until.get(job.id, now)]
        waiting = [job for job in sound if self._ready.get(job.id) == job or self._safely(job, self._attend)]
        self._fill(waiting)
        self._sayings.write()

    def _active(self) -> list[ActiveJob]:
        with read(self._database) as session:
            return jobs.active(session)

    def _begin(self, active: list[ActiveJob]) -> None:
        """Adopt what a predecessor left; what runs for how long is known by stamps, whatever the clock did since."""
        self._devices.release_all()
        with read(self._database) as session:
            rounds = jobs.running_rounds(session)
        by_id = {job.id: job for job in active}
        tasks = [self._launcher.stage_task(job, self._since(job.stage_stamp)) for job in active if job.state in STAGES]
        for row in rounds:
            if row.job_id in by_id:
                tasks.append(self._launcher.round_task(row, by_id[row.job_id], self._since(row.stamp)))
                self._busy.start(row.job_id, self._clock())
        self._flight.begin(tasks)
        self._term = self._lead.term

    def _since(self, stamped: str) -> float:
        found = reading(stamped) if stamped else None
        return self._clock() if found is None else found

    def _reap(self) -> None:
        """Write down how tasks ended; an end that can't be written is kept for the next pass."""
        while ended := self._flight.next_ended():
            task, outcome = ended
            log.info("%s of %s: %s", task.stage or f"round {task.key}", task.job_id, outcome.kind)
            try:
                rest_sec, why = self._endings.end(task, outcome, self._clock())
                if rest_sec:
                    self._rests[task.job_id] = (self._clock() + rest_sec, why)
            except (NotLeading, OperationalError):
                raise
            except Exception as error:  # of one row: neither it nor its task may hold up the others
                log.exception("the end of %s can't be written down", task.key)
                self._note_fault(task.job_id, error)
            self._flight.settle(task.key)

    def _safely(self, job: ActiveJob, step: Callable[[ActiveJob], bool]) -> bool:
        """Take a step for a job. One that can't be taken stops no other job, and is tried again after a rest."""
        try:
            return step(job)
        except (NotLeading, OperationalError, EngineUnavailable):
            raise
        except Exception as error:
            log.exception("%s can't be looked after", job.id)
            self._note_fault(job.id, error)
            return False

    def _note_fault(self, job_id: str, error: Exception) -> None:
        """Leave a job alone for a while, and let it say why, if that much can be written of it."""
        self._faulty_until[job_id] = self._clock() + FAULT_REST_SEC
        words = f"waiting after a fault of the service ({type(error).__name__}: {error})"
        with suppress(SQLAlchemyError, TunerError), self._lead.write() as session:
            ledger.say(session, jobs.get(session, job_id), words)

    def _attend(self, job: ActiveJob) -> bool:
        """Do what is next for a job; True when that needs room in the engine."""
        situation = self._situation(job)
        match plan.decide(situation):
            case plan.RunStage() | plan.RunRounds():
                if job.state == "submitted":  # nothing that it is judged by changes but what ``_pass`` looks at
                    self._ready[job.id] = job
                return True
            case plan.Kill(keys, why):
                for key in keys:
                    self._kill(key, why)
            case plan.Move(event, message, error):
                self._lead.change(job, lambda session, row: ledger.move(session, row, event, message, error))
            case plan.DropWish():
                self._lead.change(job, ledger.drop_wish)
            case plan.Wait(message):
                told = message or (message_of(situation.state, job.compile_only) if plan.is_stale(job.message) else "")
                if told and told != job.message and (message or situation.running):
                    self._sayings.add(job, told)
        return False

    def _situation(self, job: ActiveJob) -> Situation:
        now = self._clock()
        wish, since = self._wishes.get(job.id, ("", now))
        if wish != job.wish:
            self._wishes[job.id] = (job.wish, now)
            since = now
        until, why = self._rests.get(job.id, (0.0, ""))
        return Situation(
            job_id=job.id,
            state=cast(JobState, job.state),
            wish=job.wish,
            wish_age_sec=now - since,
            running=self._flight.of(job.id),
            now=now,
            fetching=self._files.message(job, now),
            engine_problem=self._flight.problem,
            device_problem=self._devices.problem(self._launcher.device_key(job)),
            storage_problem=self._disk.problem(now),
            rest_reason=why if now < until else "",
            target_known=bool(job.target_family) or job.state != "submitted" or self._resolve(job),
            remote=self._launcher.is_remote(job),
            compile_only=job.compile_only,
        )

    def _kill(self, key: str, why: str) -> None:
        task = self._flight.end(key)
        self._endings.end_killed(task, why, self._clock())

    def _fill(self, waiting: list[ActiveJob]) -> None:
        """Give the engine's free room to jobs; with several devices a job that tunes may get several rounds."""
        left = {job.id: job for job in waiting}
        room = Room(
            self._flight.slots,
            {key: self._devices.count(key) for key in {self._launcher.device_key(job) for job in waiting}},
            self._settings.device_key if self._engine_is_here else "",
        )
        try:
            while not room.is_full(running := self._flight.occupying()):
                found = room.next(self._launcher.applicants(left.values()), running)
                if found is None:
                    break
                job = left[found.job_id]
                started = self._safely(job, self._launcher.start)
                if started:
                    self._launcher.note_turn(job)
                if not started or job.state != "tuning":
                    del left[job.id]
        except EngineUnavailable as error:
            log.warning("%s", error.message)
        for job in left.values():  # what one waited for may be there, and its turn not
            if plan.is_stale(job.message) and not self._flight.of(job.id):
                self._sayings.add(job, plan.WAITS_FOR_TURN)

    def _resolve(self, job: ActiveJob) -> bool:
        """Find out what the job's target is, if its device has said what it is."""
        target = self._targets.get(job.target)
        if target is None:
            with read(self._database) as session:
                target = self._targets[job.target] = resolve_target(session, self._settings, job.target)
            if target.family:
                with self._lead.write() as session:
                    ledger.set_target(session, job.target, target.tvm, target.family)
        return bool(target.family)

    def _forget_all_but(self, job_ids: set[str]) -> None:
        self._forecast.keep_only(job_ids)
        self._launcher.keep_only(job_ids)
        self._ready = only(self._ready, job_ids)
        self._wishes = only(self._wishes, job_ids)
        self._rests = only(self._rests, job_ids)
        self._faulty_until = only(self._faulty_until, job_ids)
        if job_ids != self._on_disk:
            self._on_disk = job_ids
            job_folders.sweep(self._settings, self._database, job_ids)
