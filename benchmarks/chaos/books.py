"""What was announced while things went wrong, and whether it is still true at the end."""

from __future__ import annotations

import contextlib
from collections import Counter

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, select

from tuner.config import Settings
from tuner.db.engine import make_engine, read
from tuner.db.models import Job, JobWorkload, Record, Round
from tuner.errors import TunerError


class Books:
    """Reads a service's database as anybody may, and remembers each record that it has seen."""

    def __init__(self, settings: Settings) -> None:
        self.engine: Engine = make_engine(settings)
        self._seen: dict[int, list[float]] = {}  # run_secs by id

    def look(self) -> None:
        """Remember what is there now; nothing where the database does not answer."""
        newest = max(self._seen, default=0)
        with contextlib.suppress(SQLAlchemyError, TunerError), read(self.engine) as db:
            for record in db.exec(select(Record).where(col(Record.id) > newest)):
                assert record.id is not None
                if record.run_secs or record.error_class:  # a seed goes when it is measured
                    self._seen[record.id] = list(record.run_secs)

    def jobs(self) -> list[Job]:
        """All jobs; none where the database does not answer."""
        with contextlib.suppress(SQLAlchemyError, TunerError), read(self.engine) as db:
            return list(db.exec(select(Job).order_by(col(Job.created_at))))
        return []

    def count(self) -> int:
        """How many records there are."""
        with read(self.engine) as db:
            return len(db.exec(select(Record.id)).all())

    def failed(self) -> list[Record]:
        """Records of candidates that are said to be bad."""
        with read(self.engine) as db:
            return list(db.exec(select(Record).where(Record.error_class != "")))

    def verdict(self) -> dict[str, int]:
        """What is wrong, each a count that has to be nothing."""
        with read(self.engine) as db:
            jobs, records, rounds = (
                list(db.exec(select(Job))),
                list(db.exec(select(Record))),
                list(db.exec(select(Round))),
            )
            trials = Counter[str]()
            for link in db.exec(select(JobWorkload)):
                trials[link.job_id] += link.trials
        kept = {record.id: list(record.run_secs) for record in records}
        timed = Counter((r.workload_id, r.target_family, r.candidate) for r in records if r.run_secs)
        of_job, of_round = Counter(r.job_id for r in records), Counter(r.round_id for r in records)
        return {
            "jobs not done": sum(job.state != "succeeded" for job in jobs) or int(not jobs),
            "records lost": sum(1 for key, run_secs in self._seen.items() if kept.get(key) != run_secs)
            + sum(max(0, row.measured - of_round[row.id]) for row in rounds if row.state == "done"),
            "records doubled": sum(count - 1 for count in timed.values()),
            "candidates measured twice": sum(max(0, trials[job.id] - of_job[job.id]) for job in jobs),
        }

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()
