"""The files of jobs' models: fetched before the engine is asked for room, kept while a job may need them."""

from __future__ import annotations

import functools
import logging
from collections.abc import Collection
from dataclasses import asdict

import sqlalchemy
from sqlmodel import Session

from tuner.config import Settings
from tuner.db import jobs, models_
from tuner.db.engine import read
from tuner.db.jobs import ActiveJob
from tuner.db.models import Job
from tuner.errors import ModelInvalid, StageFailed, TunerError
from tuner.importers import snapshot
from tuner.importers.source import ModelSource, check_seq_len
from tuner.jobs import ledger
from tuner.jobs.fetches import Fetches, Result
from tuner.jobs.leadership import Leadership
from tuner.jobs.plan import WAITS_FOR_TURN
from tuner.jobs.shape import settled_shape
from tuner.jobs.tasks import only
from tuner.lengths import of_texts
from tuner.schemas import ErrorBody

log = logging.getLogger(__name__)


class ModelFiles:
    """Sees to it that each active job gets its files, and that nobody's stay."""

    def __init__(self, settings: Settings, database: sqlalchemy.Engine, lead: Leadership, fetches: Fetches) -> None:
        self._settings = settings
        self._database = database
        self._lead = lead
        self._fetches = fetches
        self._kept: set[str] | None = None
        self._seen: set[str] = set()  # snapshots that lie here
        self._sources: dict[str, ModelSource | ErrorBody] = {}  # of jobs that lack files

    def look(self, active: Collection[ActiveJob], now: float, storage_problem: str) -> bool:
        """Fetch what jobs lack, write down what came, drop what no job needs; True when a job was changed.

        Without room on the disk nothing is begun. ``now`` is monotonic, in seconds.
        """
        lacks = [job for job in active if self._lacks_files(job)]
        self._sources = only(self._sources, {job.id for job in lacks})
        lacking = [(job, self._source(job.id)) for job in lacks]
        wanted = {job.id: source for job, source in lacking if isinstance(source, ModelSource)}
        self._fetches.look(now, {} if storage_problem else wanted)
        ended = False
        for job, source in lacking:
            result = self._fetches.result(job.id) if isinstance(source, ModelSource) else source
            if result is not None:
                self._lead.change(job, functools.partial(_end, source=source, result=result))
                ended = True
        if not ended:
            self._drop_all_but({job.snapshot for job in active if job.snapshot})
        return ended

    def message(self, job: ActiveJob, now: float) -> str:
        """What the job waits for; empty when its files are here."""
        if self._is_here(job.snapshot):
            return ""
        return self._fetches.message(job.id, now) or "waiting for its model's files"

    def _lacks_files(self, job: ActiveJob) -> bool:
        return not self._is_here(job.snapshot) and job.wish != "cancel" and job.state != "paused"

    def _is_here(self, snapshot: str | None) -> bool:
        """Do the files lie here, or are there none? What another service has fetched, its data directory has."""
        if snapshot and snapshot not in self._seen and (self._settings.sources_dir / snapshot).is_dir():
            self._seen.add(snapshot)
        return snapshot == "" or snapshot in self._seen

    def close(self) -> None:
        """End all that runs."""
        self._fetches.close()

    def _source(self, job_id: str) -> ModelSource | ErrorBody:
        """What a job's model is, or why nobody can tell: that stops no other job."""
        if job_id not in self._sources:
            self._sources[job_id] = self._read_source(job_id)
        return self._sources[job_id]

    def _read_source(self, job_id: str) -> ModelSource | ErrorBody:
        try:
            with read(self._database) as session:
                job = jobs.get(session, job_id)
                # Without it the job is one that a release before this one began.
                return ModelSource(**job.source_json) if job.source_json else _from_row(session, job)
        except (TypeError, TunerError):
            log.exception("what the model of %s is can't be read", job_id)
            error = StageFailed(f"What the model of {job_id} is can't be read.", "Submit the job again.")
            return ErrorBody(**error.as_dict())

    def _drop_all_but(self, snapshots: set[str]) -> None:
        """Only while nothing is on its way: what a fetch has found may be what a job that ended had."""
        if snapshots == self._kept or self._fetches:
            return
        self._kept = snapshots
        self._seen &= snapshots
        try:
            snapshot.sweep(self._settings.sources_dir, snapshots)
        except OSError as error:
            log.warning("models that nobody needs any more stay until another job has ended: %s", error)


def _end(session: Session, job: Job, source: ModelSource | ErrorBody, result: Result) -> None:
    """Write down what was found for a job, or that nothing was."""
    if isinstance(result, ErrorBody):
        ledger.move(session, job, "fail", error=result.model_dump())
        return
    assert isinstance(source, ModelSource)
    if job.snapshot and result.snapshot != job.snapshot:
        error = ModelInvalid(f"The files of {source.name} are other ones here.", "Submit the job again.")
        ledger.move(session, job, "fail", error=error.as_dict())
        return
    source = result.complete(source)
    if job.shape_is_open:
        shape = settled_shape(source, job.target, "llvm")
        job.batch, job.seq_len, job.lengths = shape.batch, shape.seq_len, shape.lengths
        job.shape_is_open = False
        if shape.note:
            ledger.say(session, job, shape.note)
    elif job.lengths and source.max_seq_len:  # of a hub model nobody knew how long its texts may be
        job.lengths = list(of_texts(job.lengths, source.max_seq_len).sample)
    elif not job.lengths:
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
