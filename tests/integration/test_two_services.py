"""Two services on one Postgres, each with a data directory of its own: they take turns, and nothing is lost."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import func, select

from tests.support.coordination import Bench
from tests.support.processes import kill_hard, python_code, running, wait_until
from tuner.config import Settings
from tuner.db import jobs
from tuner.db.engine import make_engine, read
from tuner.db.models import Lease, Record, Round
from tuner.jobs.leadership import LEASE

BUDGET = 160
# A coordinator in real time, with an engine of its own, which ends with it.
SERVICE = """
import sys, time
from tests.support.coordination import Bench
from tuner.config import Settings
from tuner.db.engine import make_engine
settings = Settings(data_dir=sys.argv[1], database_url=sys.argv[2])
bench = Bench(settings, make_engine(settings))
while True:
    bench.now = time.monotonic()
    bench.coordinator.tick()
    time.sleep(0.02)
"""


@pytest.fixture
def bench(tmp_path: Path, postgres_url: str) -> Iterator[Bench]:
    """Submits jobs and looks at them; its own coordinator does nothing."""
    settings = Settings(data_dir=tmp_path / "watcher", database_url=postgres_url)
    engine = make_engine(settings)
    yield Bench(settings, engine)
    engine.dispose()


def test_two_services_take_turns_and_lose_nothing(bench: Bench, tmp_path: Path, postgres_url: str) -> None:
    def start(name: str) -> subprocess.Popen[str]:
        return services.enter_context(running(python_code(SERVICE, str(tmp_path / name), postgres_url)))

    with ExitStack() as services:
        ids = [submit(bench)]
        both = [start("one"), start("other")]
        first = leader_after(bench, 0, 0)
        assert first in {process.pid for process in both}
        second = turn(bench, first, ids)
        assert second in {process.pid for process in both} - {first}
        start("one")
        third = turn(bench, second, ids)
        assert third not in (first, second)
        wait_until(lambda: all(bench.job(one).state == "succeeded" for one in ids), 60, "the ends of all jobs")
    measured = measurements(bench.database)
    assert sum(measured.values()) == len(measured) >= 3 * BUDGET
    for one in ids:
        assert bench.states(one).count("succeeded") == 1
        assert {row.state for row in bench.rounds(one)} <= {"done", "lost"}
        assert bench.job(one).trials >= BUDGET
        assert trials_of(bench.database, one) == records_of(bench.database, one)


def submit(bench: Bench) -> str:
    """A job that has as much to do when others are done before it begins."""
    return bench.submit(budget_trials=BUDGET, cold=True)


def turn(bench: Bench, pid: int, ids: list[str]) -> int:
    """The one that leads is killed, and there is more to do; returns who leads then and has measured something."""
    kill_hard(pid)
    before = rounds_done(bench.database)
    ids.append(submit(bench))
    bench.expire_lease()
    return leader_after(bench, pid, before)


def leader_after(bench: Bench, pid: int, before: int) -> int:
    """The process that leads once it is another one, and more rounds than ``before`` have ended."""
    wait_until(lambda: leader(bench.database) not in (0, pid), 60, "another to lead")
    wait_until(lambda: rounds_done(bench.database) > before, 60, "a round of the one that leads")
    return leader(bench.database)


def leader(database: Engine) -> int:
    """Process id of the coordinator that has the lease, 0 for none."""
    with read(database) as session:
        lease = session.get(Lease, LEASE)
    return int(lease.owner.split(":")[-2]) if lease is not None else 0


def rounds_done(database: Engine) -> int:
    with read(database) as session:
        return session.exec(select(func.count()).select_from(Round).where(Round.state == "done")).one()


def measurements(database: Engine) -> Counter[tuple[str, str]]:
    """How often each candidate of each workload was measured."""
    with read(database) as session:
        return Counter((row.workload_id, row.candidate) for row in session.exec(select(Record)))


def records_of(database: Engine, job_id: str) -> int:
    with read(database) as session:
        return session.exec(select(func.count()).select_from(Record).where(Record.job_id == job_id)).one()


def trials_of(database: Engine, job_id: str) -> int:
    with read(database) as session:
        return sum(link.trials for link, _ in jobs.workloads(session, job_id))
