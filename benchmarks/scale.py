"""``python -m benchmarks.scale``: what a pass, a round, each page and each list take in a database of many years.

Makes the database first (a million records, ten thousand jobs and a million events: 4 GB, some minutes) and keeps it
for the next run. With ``TUNER_DATABASE_URL`` it is on Postgres; that must be empty, or filled by this command.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from fastapi.testclient import TestClient
from rich.progress import Progress, TaskID
from rich.table import Table
from sqlalchemy import Engine

from api.app import create_app
from benchmarks import report
from benchmarks.populate import BIG_JOB, FAMILIES, Size, artifact_id, job_id, populate, workload_id
from rpc.facts import device_facts
from tuner.cli.common import console, notes, run_app, settings_with
from tuner.config import Settings
from tuner.db import jobs
from tuner.db.engine import make_engine, read, write
from tuner.db.migrate import create_or_check
from tuner.db.paging import MOST_COUNTED
from tuner.jobs import garbage, housekeeping
from tuner.jobs.coordinator import Coordinator
from tuner.jobs.device_watch import DeviceWatch
from tuner.jobs.engine import Outcome
from tuner.measuring.measure import DeviceAddress, Measured
from tuner.search.journal import Journal, Task
from tuner.search.session import Proposal
from tuner.tokens import own_token

_ROUNDS = 200  # in one of thirty or so the write-ahead log is brought into the database
GOALS_MS = {"pass": 20.0, "round": 50.0, "request": 200.0}
_BYTES_EACH = 5_000  # of a record, with its share of all else
_ADDRESS = DeviceAddress("127.0.0.1", 1, "local", 1.0, 1.0)


@dataclass
class Timed:
    """What something took, in milliseconds, each time; ``kind`` names its goal."""

    name: str
    kind: str
    took_ms: list[float] = field(default_factory=list)

    @contextmanager
    def once(self) -> Iterator[None]:
        """Time the block."""
        started = time.perf_counter()
        yield
        self.took_ms.append((time.perf_counter() - started) * 1e3)

    @property
    def p50_ms(self) -> float:
        """The median."""
        return statistics.median(self.took_ms)

    @property
    def p95_ms(self) -> float:
        """What nineteen of twenty stay below."""
        few = len(self.took_ms) < 2
        return self.p50_ms if few else statistics.quantiles(self.took_ms, n=20, method="inclusive")[-1]

    @property
    def is_good(self) -> bool:
        """Do nineteen of twenty stay below the goal?"""
        return self.p95_ms < GOALS_MS[self.kind]


class StillEngine:
    """An engine that runs nothing: what was submitted ends when it is told to."""

    def __init__(self) -> None:
        self.running: set[str] = set()
        self._ended: list[Outcome] = []

    def submit(self, key: str, name: str, **kwargs: str) -> None:
        """Keep the key."""
        self.running.add(key)

    def adopt(self, keys: Iterable[str]) -> None:
        """Keep the keys."""
        self.running.update(keys)

    def finish(self, key: str) -> None:
        """Let a task be done."""
        self.running.discard(key)
        self._ended.append(Outcome(key, "done"))

    def poll(self) -> list[Outcome]:
        """What was finished since."""
        ended, self._ended = self._ended, []
        return ended

    def wait(self, timeout_sec: float) -> None:
        """Not at all."""

    def cancel(self, key: str) -> None:
        """Forget the key."""
        self.running.discard(key)

    def slots(self) -> int:
        """One."""
        return 1

    def close(self) -> None:
        """Nothing to close."""


def main(
    records: Annotated[int, typer.Option(help="Records in the database; the rest in proportion.")] = 1_000_000,
    repeats: Annotated[int, typer.Option(min=2, help="How often each request is sent.")] = 20,
    data_dir: Annotated[Path, typer.Option(help="Where the database is made.")] = Path(".tunesmith") / "scale",
) -> None:
    """Make the database if it is not there, time what is asked of it; writes benchmarks/out/scale.json."""
    settings = settings_with(data_dir=data_dir).model_copy(update={"min_free_bytes": 0})
    size = Size(records, records // 100, records, records // 1000)
    engine = _database(settings, size)
    garbage.collect()  # as web and coordinator do when they begin
    found = [*_coordination(settings, engine), *_requests(settings, size, repeats)]
    engine.dispose()
    facts = report.circumstances(device_facts()["cpu"])
    body = {"size": vars(size), "database": engine.dialect.name, "goals_ms": GOALS_MS}
    figures = [{"name": one.name, "p50_ms": one.p50_ms, "p95_ms": one.p95_ms, "n": len(one.took_ms)} for one in found]
    path = report.save(f"scale-{engine.dialect.name}", {**body, "timed": figures, **facts})
    console.print(table(found))
    console.print(report.footer(facts), style="dim", soft_wrap=True)
    console.print(f"written to {report.shown(path)}", style="dim", soft_wrap=True)
    if not all(one.is_good for one in found):
        raise typer.Exit(1)


def table(found: Iterable[Timed]) -> Table:
    """All figures, those over their goals marked."""
    rows = Table("what", "p50 ms", "p95 ms", "goal ms", "")
    for one in found:
        goal = f"{GOALS_MS[one.kind]:.0f}"
        rows.add_row(one.name, f"{one.p50_ms:.1f}", f"{one.p95_ms:.1f}", goal, "" if one.is_good else "[red]over")
    return rows


def _database(settings: Settings, size: Size) -> Engine:
    """The database, filled now if it has no jobs."""
    settings.root.mkdir(parents=True, exist_ok=True)
    create_or_check(settings)
    engine = make_engine(settings)
    with read(engine) as session:
        there = jobs.find(session).total
    if there:
        return engine
    wanted, free = size.records * _BYTES_EACH, shutil.disk_usage(settings.root).free
    if free < 2 * wanted:
        notes.print(f"{settings.root} has {free / 1e9:.0f} GB free; {2 * wanted / 1e9:.0f} GB are needed.")
        raise typer.Exit(1)
    with Progress(console=notes) as progress:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, rows: int) -> None:
            table = what.split(",")[0]
            if table not in tasks:
                tasks[table] = progress.add_task(what, total=None)
            progress.update(tasks[table], completed=rows)

        populate(engine, settings, size, tell)
    return engine


def _coordination(settings: Settings, engine: Engine) -> list[Timed]:
    """Passes with nothing to do, and rounds of the job that tunes, the largest of all."""
    still = StillEngine()
    device = {"key": "server:local", "addr": ["127.0.0.1", 1]}
    summary = {"server_info": [device], "queue_info": {"local": {"free": 1, "pending": 0}}}
    watch = DeviceWatch(engine, lambda: summary)
    coordinator = Coordinator(settings, engine, still, watch, lambda: 2**60)
    passes = Timed("pass of a coordinator", "pass")
    names = ("search: what was tried", "round: what is new", "round: 16 records", "round: its end and the next")
    first, before, kept, after = (Timed(name, "round") for name in names)
    whole = Timed("round: all of its bookkeeping", "round")
    journal = Journal(engine)
    read_up_to: dict[str, int] = {}  # by kernel, as a search that is kept knows
    for _ in housekeeping.clean(settings, engine):
        pass  # what is due this hour goes between two rounds, and is no part of either
    while not still.running:
        coordinator.tick()
    for _ in range(200):
        with passes.once():
            coordinator.tick()
    for number in range(_ROUNDS):
        (key,) = still.running
        task = Task(*journal.rows(BIG_JOB, key), None, _ADDRESS)
        if task.workload.id not in read_up_to:  # once a kernel of a job
            with first.once():
                _, read_up_to[task.workload.id] = journal.tried(task)
        with whole.once():
            with before.once():
                row, job, workload = journal.rows(BIG_JOB, key)
                task = Task(row, job, workload, None, _ADDRESS)
                _, read_up_to[workload.id] = journal.tried(task, read_up_to[workload.id])
                better_sec = 0.9999 * (journal.best_sec(task) or 1e-3)
            with kept.once():
                for count in range(row.batch):
                    proposal = Proposal(f"{number:08x}{count:08x}{key[-8:]}", "", "[]" * 800, [], None)
                    journal.keep(task, proposal, Measured([better_sec] * 3), 1.0)
            with after.once():
                journal.best_sec(task)
                journal.approve(task, proposal)
                journal.finish(task, exhausted=False, search_sec=1.0, build_sec=2.0, measure_sec=3.0)
                still.finish(key)
                coordinator.tick()
    coordinator.resign()
    _leave_as_found(engine)
    return [passes, first, before, kept, after, whole]


def _leave_as_found(engine: Engine) -> None:
    """The round that nobody runs any more goes, so that the next run finds the job tuning."""
    with write(engine) as session:
        for row in jobs.running_rounds(session):
            session.delete(row)


def _requests(settings: Settings, size: Size, repeats: int) -> list[Timed]:
    """Every page and list, from their beginnings and from far within."""
    found = []
    shown = {"Authorization": f"Bearer {own_token(settings.token_file)}"}
    with TestClient(create_app(settings), base_url="http://localhost", headers=shown) as client:
        for path, query in _asked(size):
            timed = Timed(_shown(path, query), "request")
            for _ in range(repeats):
                with timed.once():
                    answer = client.get(path, params=query)
                assert answer.status_code in (200, 503), (path, answer.text)
            found.append(timed)
            if far := _far_on(client, path, query, answer.json() if path.startswith("/v1") else None):
                timed = Timed(f"{timed.name} (by cursor, after 2,000 rows)", "request")
                for _ in range(repeats):
                    with timed.once():
                        client.get(path, params={**query, "cursor": far})
                found.append(timed)
    return found


def _asked(size: Size) -> Iterator[tuple[str, dict[str, Any]]]:
    ended = job_id(size.jobs // 2)
    for state in ("all", "active", "failed"):
        yield "/", {"state": state}
    yield "/", {"offset": size.jobs // 2}
    yield from ((f"/jobs/{one}", {}) for one in (ended, BIG_JOB))
    yield from (("/artifacts", {"offset": offset}) for offset in (0, size.jobs // 2))
    yield "/devices", {}
    for query in ({}, {"state": ["failed", "succeeded"]}, {"model": "organisation/model-1"}, {"target": "local"}):
        yield "/v1/jobs", query
    for one in (ended, BIG_JOB):
        yield from ((f"/v1/jobs/{one}{part}", {}) for part in ("", "/workloads", "/curve"))
    family, workload = {"target_family": FAMILIES[0]}, {"workload_id": workload_id(1, 1)}
    for chosen in ({}, family, workload, {**family, **workload}, {"job_id": ended}, {"job_id": BIG_JOB}):
        for failed in ({}, {"failed": True}, {"failed": False}):
            yield "/v1/records", {**chosen, **failed}
    yield "/v1/records", {"offset": MOST_COUNTED}
    yield from (("/v1/artifacts", query) for query in ({}, {"job_id": ended}))
    yield from (("/v1/benchmarks", query) for query in ({}, {"job_id": ended}))
    yield from ((f"/v1/jobs/{one}/evidence", {}) for one in (ended, BIG_JOB))
    yield f"/v1/artifacts/{artifact_id(size.jobs // 2)}", {}
    yield from ((f"/v1/{name}", {}) for name in ("models", "devices", "targets", "uploads", "tokens"))
    yield "/readyz", {}


def _far_on(client: TestClient, path: str, query: dict[str, Any], page: Any) -> str | None:
    """The cursor after the first 2,000 rows of a list, if it has as many."""
    if not isinstance(page, dict) or not page.get("cursor") or "offset" in query or page["total"] < 3_000:
        return None
    for _ in range(2):
        page = client.get(path, params={**query, "limit": 1000, "cursor": page["cursor"]}).json()
    return str(page["cursor"])


def _shown(path: str, query: dict[str, Any]) -> str:
    words = "&".join(f"{name}={value}" for name, value in query.items())
    return path + (f"?{words}" if words else "")


if __name__ == "__main__":
    run_app(lambda: typer.run(main))
