"""Submitting a job as the REST API does."""

from __future__ import annotations

from sqlalchemy import Engine

from tuner.config import Settings
from tuner.db.engine import write
from tuner.db.models import Job
from tuner.jobs.submit import source_of, submit
from tuner.schemas import JobIn


def submit_job(engine: Engine, settings: Settings, wish: JobIn) -> Job:
    """The new job's row."""
    source = source_of(engine, wish)
    with write(engine) as session:
        return submit(session, settings, wish, source)
