"""A job of a running service, watched over REST and in the service's own database."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
from sqlmodel import col, select

from tests.support.processes import patience, wait_until
from tests.support.service import Service
from tuner.config import Settings
from tuner.db import jobs
from tuner.db.engine import make_engine, read, write
from tuner.db.models import Job, Record, Round
from tuner.jobs import seclusion

SEQ_LEN = 16
TRIALS = 8  # of a job that shall come to its end
ENDED = ("succeeded", "failed", "cancelled")


class JobWatch:
    """One job; what it recorded is read from the database, as nobody measures faster than REST can be polled."""

    def __init__(self, service: Service, job_id: str) -> None:
        self.service = service
        self.id = job_id
        self._engine = make_engine(Settings(data_dir=service.data_dir))

    def close(self) -> None:
        self._engine.dispose()

    def ask(self, path: str = "", method: str = "GET") -> dict[str, Any]:
        """``path`` of the job over REST."""
        answer = self.service.ask(method, f"/v1/jobs/{self.id}{path}")
        assert answer.is_success, answer.text
        found: dict[str, Any] = answer.json() if answer.content else {}
        return found

    @property
    def row(self) -> Job:
        with read(self._engine) as db:
            return jobs.get(db, self.id)

    def wait_for(self, *states: str, timeout_sec: float = 120.0) -> Job:
        """Wait until the job is in one of ``states``; an end that is none of them fails the test at once."""

        def there() -> bool:
            row = self.row
            assert row.state in states or row.state not in ENDED, (row.state, row.error)
            return row.state in states

        wait_until(there, timeout_sec, f"{' or '.join(states)} of {self.id}")
        return self.row

    def rounds(self, state: str | None = None) -> list[Round]:
        with read(self._engine) as db:
            return jobs.rounds(db, self.id, state)

    def records(self) -> list[Record]:
        """All records of the service, whoever measured them."""
        with read(self._engine) as db:
            return list(db.exec(select(Record).order_by(col(Record.id))))

    def best_us(self) -> dict[str, float]:
        """Workloads with their best time."""
        with read(self._engine) as db:
            return {w.id: link.best_us for link, w in jobs.workloads(db, self.id) if link.best_us}

    def wait_for_round_in_progress(self, timeout_sec: float = 60.0) -> Round:
        """Wait until a round has measured some candidates and is not done."""
        deadline = time.monotonic() + patience(timeout_sec)
        while time.monotonic() < deadline:
            with read(self._engine) as db:
                query = select(Round).where(Round.job_id == self.id, Round.state == "running")
                for row in db.exec(query):
                    if db.exec(select(Record.id).where(Record.round_id == row.id).limit(1)).first():
                        return row
            time.sleep(0.02)
        raise AssertionError(f"no round of {self.id} began to measure within {timeout_sec:g} s: {self.row.state}")

    def wait_for_rounds_after(self, done: int, more: int = 1, timeout_sec: float = 90.0) -> None:
        """Wait until ``more`` rounds than ``done`` have ended well."""
        wait_until(lambda: self._done() >= done + more, timeout_sec, f"another round of {self.id}")

    def _done(self) -> int:
        assert self.row.state == "tuning", (self.row.state, self.row.message, self.row.error)
        return len(self.rounds("done"))

    def end_budget(self) -> None:
        """Let the trials measured so far be all it may spend."""
        with write(self._engine) as db:
            row = jobs.get(db, self.id)
            row.budget_trials = max(1, row.trials)

    def check_books(self) -> None:
        """Every measurement has one record and every record was measured once."""
        ended = [row for row in self.rounds() if row.state != "running"]
        found = self.records()
        keys = Counter((r.workload_id, r.target_family, r.candidate) for r in found)
        assert max(keys.values(), default=1) == 1
        of_round = Counter(r.round_id for r in found)
        for row in ended:
            assert row.measured == of_round[row.id], (row, of_round[row.id])


def submit(service: Service, model: Path | str, **wish: Any) -> JobWatch:
    """A job for this machine, of ``SEQ_LEN`` tokens unless it is for texts."""
    shape = {} if "lengths" in wish else {"seq_len": SEQ_LEN}
    body = {"model": str(model), "target": "local", **shape, **wish}
    answer = service.ask("POST", "/v1/jobs", json=body)
    assert answer.status_code == 201, answer.text
    return JobWatch(service, answer.json()["id"])


def engine_worker(service: Service) -> int:
    """The process that runs stages and rounds."""
    children = psutil.Process(service.pid("engine")).children()
    (worker,) = [child.pid for child in children if "spawn_main" in " ".join(child.cmdline())]
    return worker


def secluded(service: Service) -> list[int]:
    """Processes that run stages of a job which holds what others wrote."""
    below = psutil.Process(service.pid("engine")).children(recursive=True)
    return [child.pid for child in below if _says(child, seclusion.MODULE)]


def _says(process: psutil.Process, word: str) -> bool:
    try:
        return word in process.cmdline()
    except psutil.Error:  # it has ended
        return False


def mapped_libraries(pid: int) -> set[str]:
    """File names of all that a process has mapped."""
    return {Path(line.split(maxsplit=5)[5].strip()).name for line in _maps(pid) if len(line.split()) > 5}


def _maps(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/maps").read_text().splitlines()
