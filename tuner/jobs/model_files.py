"""The files of jobs' models: fetched before the engine is asked for room, kept while a job may need them."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import asdict

import sqlalchemy
from sqlmodel import Session

from tuner.config import Settings
from tuner.db import models_
from tuner.db.engine import read
from tuner.db.models import Job
from tuner.errors import TunerError
from tuner.importers import snapshot
from tuner.importers.snapshot import Found
from tuner.importers.source import ModelSource, check_seq_len
from tuner.jobs import ledger
from tuner.jobs.fetches import Fetches, Result
from tuner.jobs.leadership import Leadership
from tuner.jobs.plan import WAITS_FOR_TURN

log = logging.getLogger(__name__)


class ModelFiles:
    """Sees to it that each active job gets its files, and that nobody's stay."""

    def __init__(self, settings: Settings, database: sqlalchemy.Engine, lead: Leadership, fetches: Fetches) -> None:
        self._settings = settings
        self._database = database
        self._lead = lead
        self._fetches = fetches
        self._kept: set[str] | None = None

    def look(self, active: Collection[Job], now: float, storage_problem: str) -> bool:
        """Fetch what jobs lack, write down what came, drop what no job needs; True when a job was changed.

        Without room on the disk nothing is begun. ``now`` is monotonic, in seconds.
        """
        lacking = [job for job in active if job.snapshot is None and job.wish != "cancel" and job.state != "paused"]
        self._fetches.look(now, {job.id: self._source(job) for job in lacking if not storage_problem})
        ended = [(job, result) for job in lacking if (result := self._fetches.result(job.id)) is not None]
        for job, result in ended:
            self._lead.change(job, lambda session, row, result=result: _end(session, row, result))  # type: ignore[misc]
        if not ended:
            self._drop_all_but({job.snapshot for job in active if job.snapshot})
        return bool(ended)

    def message(self, job: Job, now: float) -> str:
        """What the job waits for; empty when its files are here."""
        return (self._fetches.message(job.id, now) or "waiting for its model's files") if job.snapshot is None else ""

    def close(self) -> None:
        """End all that runs."""
        self._fetches.close()

    def _source(self, job: Job) -> ModelSource:
        if not job.source_json:  # a job that a release before this one began
            with read(self._database) as session:
                return _from_row(session, job)
        return ModelSource(**job.source_json)

    def _drop_all_but(self, snapshots: set[str]) -> None:
        """Only while nothing is on its way: what a fetch has found may be what a job that ended had."""
        if snapshots != self._kept and not self._fetches:
            snapshot.sweep(self._settings.sources_dir, snapshots)
            self._kept = snapshots


def _end(session: Session, job: Job, result: Result) -> None:
    """Write down what was found for a job, or that nothing was."""
    if not isinstance(result, Found):
        ledger.move(session, job, "fail", error=result.model_dump())
        return
    source = result.complete(ModelSource(**job.source_json) if job.source_json else _from_row(session, job))
    try:
        check_seq_len(source.name, source.max_seq_len, job.seq_len)
    except TunerError as error:
        ledger.move(session, job, "fail", error=error.as_dict())
        return
    job.source_json, job.snapshot = asdict(source), result.snapshot
    ledger.say(session, job, WAITS_FOR_TURN)


def _from_row(session: Session, job: Job) -> ModelSource:
    model = models_.get(session, job.model_id)
    fields = ("name", "source", "location", "family", "head", "max_seq_len", "weights", "allow_pickle")
    return ModelSource(**{name: getattr(model, name) for name in fields})
