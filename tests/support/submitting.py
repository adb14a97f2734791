"""Submitting a job as the REST API does."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import Engine

from tuner.config import Settings
from tuner.db import jobs
from tuner.db.engine import read, write
from tuner.db.models import Job
from tuner.importers.snapshot import bring
from tuner.importers.source import ModelSource
from tuner.jobs.submit import source_of, submit
from tuner.schemas import JobIn


def submit_job(engine: Engine, settings: Settings, wish: JobIn) -> Job:
    """The new job's row."""
    source = source_of(settings, engine, wish)
    with write(engine) as session:
        return submit(session, settings, wish, source)


def submit_fetched(engine: Engine, settings: Settings, wish: JobIn) -> Job:
    """The new job's row, its model's files fetched."""
    return fetch_for(engine, settings, submit_job(engine, settings, wish).id)


def fetch_for(engine: Engine, settings: Settings, job_id: str) -> Job:
    """Bring a job's files as the coordinator has it done: for tests that run stages."""
    with read(engine) as session:
        source = ModelSource(**jobs.get(session, job_id).source_json)
    found = bring(source, settings.sources_dir)
    with write(engine) as session:
        row = jobs.get(session, job_id)
        row.source_json, row.snapshot = asdict(found.complete(source)), found.snapshot
        return row
