"""Growth costs nothing: what the service asks of its database is found in an index, not by reading a whole table."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine
from sqlmodel import Session

from api.dashboard import pages
from api.routes.events import _fetch
from tests.support import seed_db
from tests.support.coordination import Bench
from tests.support.fake_engine import ProcessDied
from tests.support.fake_stages import FAMILY, tune_round
from tests.support.query_plans import Scan, index_conditions, noting
from tests.support.rows import add_job, make_record, make_workload
from tuner.config import Settings
from tuner.db import artifacts, jobs, known, log, records
from tuner.db.engine import read, write
from tuner.db.models import Job, JobWorkload, Round, Upload
from tuner.jobs import control, from_records
from tuner.measuring.measure import DeviceAddress, Measured
from tuner.measuring.outputs import Problem
from tuner.search.journal import Journal, Task
from tuner.search.session import Proposal

pytestmark = pytest.mark.both_databases

# What may be read whole, and why: the beginning of the statement.
COUNTS = "SELECT count(*)"  # a list says how long it is: its index is counted
PER_STATE = "SELECT job.state, count(*)"  # the jobs page says how many there are in each state
LIKENESS = "SELECT workload.id"  # a new search compares workloads by what their index holds
EXPORT = "SELECT DISTINCT record.workload_id"  # of all records, unless some are chosen: a workload at a time
ALLOWED = (COUNTS, PER_STATE, LIKENESS, EXPORT)


def is_fine(scan: Scan) -> bool:
    """Reads an index in its order and stops at a limit, or is one of the few that may read all of it."""
    return scan.index and ("LIMIT" in scan.statement or scan.statement.startswith(ALLOWED))


def check(scans: list[Scan]) -> None:
    assert [scan for scan in scans if not is_fine(scan)] == []


def test_the_check_sees_a_table_that_is_read_whole(engine: Engine) -> None:
    with noting(engine) as noted, read(engine) as session:
        session.connection().exec_driver_sql("SELECT id FROM record WHERE device = 'local' LIMIT 1")
        session.connection().exec_driver_sql("SELECT id, device FROM record ORDER BY error LIMIT 1")
    assert {scan.table for scan in noted.scans()} == {"record"}
    with pytest.raises(AssertionError):
        check(noted.scans())


def test_passes_of_a_coordinator(settings: Settings, engine: Engine) -> None:
    bench = Bench(settings, engine)

    def die(settings: Settings, job_id: str, round_id: str = "") -> None:
        raise ProcessDied

    with noting(engine) as noted:
        done = bench.submit(cold=True)
        bench.run_to(done, "succeeded")
        elsewhere = bench.submit(target="linux-arm64", target_family="", target_json={})
        paused = bench.submit(budget_trials=10_000)
        bench.run_until(lambda: bench.job(elsewhere).target_family, 20)
        bench.run_to(paused, "tuning")
        bench.ask(control.pause, paused)
        bench.run_to(paused, "paused")
        bench.ask(control.resume, paused)
        bench.cluster.stages["tune_round"] = die
        bench.run_until(lambda: bench.rounds(paused, "lost"))
        bench.cluster.stages["tune_round"] = tune_round
        bench.coordinator = bench.successor()
        bench.expire_lease()
        bench.pass_()
        for job_id in (paused, elsewhere):
            bench.ask(control.cancel, job_id)
            bench.run_to(job_id, "cancelled")
        control.delete(engine, settings, done)
        bench.coordinator.resign()
    assert len(noted.statements) > 30
    check(noted.scans())


def test_a_round(settings: Settings, engine: Engine) -> None:
    journal = Journal(engine)
    with write(engine) as session:
        job = add_job(session, "tuning", target_family=FAMILY, target_json={"kind": "llvm"})
        for number in (1, 2):
            records.put_workload(session, make_workload(number))
        session.add(JobWorkload(job_id=job.id, workload_id=make_workload().id))
        row = Round(job_id=job.id, workload_id=make_workload().id)
        session.add(row)
    address = DeviceAddress("127.0.0.1", 1, "local", 1.0, 1.0)
    proposals = [Proposal(f"c{number}", "{}", "[]", [], None) for number in range(2)]
    with noting(engine) as noted:
        for cold in (False, True):
            round_, job, workload = journal.rows(job.id, row.id)
            task = Task(round_, job.model_copy(update={"cold": cold}), workload, None, address)
            for after in (0, 1):
                journal.tried(task, after)
            journal.known(task)
            journal.related(task)
            for proposal in proposals:
                journal.keep(task, proposal, Measured(run_secs=[1e-3]), 1.0)
            journal.best_sec(task)
            journal.approve(task, proposals[0])
            journal.note_canaries(task, [1e-3])
            journal.usual_canary_sec(task)
            journal.reject(task, proposals[1], Problem("wrong", "it is wrong"))
            journal.finish(task, exhausted=False, search_sec=1.0, build_sec=1.0, measure_sec=1.0)
    assert len(noted.statements) > 15
    check(noted.scans())


def test_a_candidate_is_looked_up_by_itself_and_not_among_all_of_its_workload(engine: Engine) -> None:
    with noting(engine) as noted, write(engine) as session:
        records.put_workload(session, make_workload())
        assert records.add(session, make_record("a", 1e-3))
    (asked,) = (statement for statement in noted.statements if statement.startswith("SELECT record.id"))
    assert "candidate" in " ".join(index_conditions(engine, asked, noted.statements[asked]))


def test_what_is_new_and_what_others_wrote_is_found_by_indexes_of_its_own(engine: Engine) -> None:
    with write(engine) as session:
        job = seed_db.finished_job(session)
    with noting(engine) as noted, read(engine) as session:
        known.candidates(session, make_workload().id, FAMILY, after=1)
        known.holds_imported(session, job)
    new, others = (statement for statement in noted.statements if " record" in statement)
    assert "id" in " ".join(index_conditions(engine, new, noted.statements[new])).replace("workload_id", "")
    if engine.dialect.name == "sqlite":
        assert "ix_record_imported" in " ".join(index_conditions(engine, others, noted.statements[others]))


def test_what_stages_read(engine: Engine) -> None:
    with write(engine) as session:
        job = seed_db.finished_job(session)
    with noting(engine) as noted, read(engine) as session:
        links = jobs.workloads(session, job.id, with_tir=True)
        from_records.fastest(session, [link.workload_id for link, _ in links], job.target_family)
        known.holds_imported(session, job)
    check(noted.scans())


NEEDED: dict[str, dict[str, Any]] = {path: {"model": "MODEL"} for path in ("/history", "/v1/history")}
NEEDED["/v1/compare"] = {"job_id": ["job-a1b2c3d4e5", "job-5ec0ad0000"]}  # a seeded one, and its twin
NEEDED["/v1/jobs/{job_id}/comparison"] = {"format": "svg"}
QUERIES: dict[str, list[dict[str, Any]]] = {
    "/": [{"state": "active"}, {"state": "failed", "offset": 50}],
    "/v1/jobs": [{"state": ["failed", "cancelled"]}, {"state": "failed"}, {"model": "minilm-l6"}, {"target": "local"}],
    "/v1/records": [
        {"workload_id": "WORKLOAD"},
        {"target_family": seed_db.FAMILY},
        {"workload_id": "WORKLOAD", "target_family": seed_db.FAMILY},
        {"job_id": "JOB"},
        {"failed": "true"},
        {"failed": "false"},
        {"target_family": seed_db.FAMILY, "failed": "false"},
    ],
    "/v1/records/export": [{"workload_id": "WORKLOAD"}, {"job_id": "JOB"}, {"job_id": "JOB", "format": "metaschedule"}],
    "/v1/artifacts": [{"job_id": "JOB"}],
    "/v1/jobs/{job_id}/comparison": [{"format": "csv"}],
    "/v1/benchmarks": [{"job_id": "JOB"}, {"artifact_id": "ARTIFACT"}],
}


def test_pages_and_routes(client: TestClient, engine: Engine, settings: Settings) -> None:
    settings.root.mkdir(exist_ok=True)
    with write(engine) as session:
        seed_db.everything(session)
        job = next(job for job in jobs.find(session).rows if job.state == "succeeded")
        artifact = artifacts.find(session).rows[0]
        upload = Upload(name="mine", digest="", size_bytes=0)
        session.add(upload)
        workload = jobs.workloads(session, job.id)[0][1]
        session.add(Job(**job.model_dump() | {"id": "job-5ec0ad0000"}))
    names = {
        "JOB": job.id,
        "ARTIFACT": artifact.id,
        "WORKLOAD": workload.id,
        "MODEL": job.model_id,
        "UPLOAD": upload.id,
        "CANDIDATE": f"{0:016x}",
    }
    answers = {}
    with noting(engine) as noted:
        for path in _readable(client):
            for query in [NEEDED.get(path, {}), *QUERIES.get(path, [])]:
                given = {name: names.get(str(value), value) for name, value in query.items()}
                url = path.format(**{f"{name.lower()}_id": value for name, value in names.items()})
                answers[url, str(given)] = client.get(url, params=given).status_code
        for after in (0, 10):
            _fetch(engine, after, None)
            _fetch(engine, after, job.id)
    assert set(answers.values()) <= {200, 410, 503}, answers
    assert len(noted.statements) > 40
    check(noted.scans())


def test_what_is_read_on_by_a_cursor(client: TestClient, engine: Engine) -> None:
    with write(engine) as session:
        seed_db.everything(session)
    with noting(engine) as noted:
        for path in ("jobs", "records", "artifacts", "benchmarks", "models", "uploads"):
            for query in ({}, {"failed": "true"}, {"state": "failed"}):
                page = client.get(f"/v1/{path}", params={"limit": 1, **query}).json()
                while page["cursor"]:
                    page = client.get(f"/v1/{path}", params={"limit": 1, "cursor": page["cursor"], **query}).json()
    check(noted.scans())


def test_what_is_written_over_rest(client: TestClient, engine: Engine, settings: Settings) -> None:
    with write(engine) as session:
        records.put_workload(session, make_workload())
        records.add(session, make_record("a", 1e-3))
    lines = "".join(log.export_lines(engine)).encode()
    with noting(engine) as noted:
        for _ in range(2):
            assert client.post("/v1/records/import", content=lines).status_code == 200
        job_id = client.post("/v1/jobs", json={"model": "minilm-l6", "target": "linux-arm64"}).json()["id"]
        client.post("/v1/models", json={"name": "minilm-l6"})
        for wish in ("pause", "resume", "cancel"):
            client.post(f"/v1/jobs/{job_id}/{wish}")
        with write(engine) as session:
            _finish(session.get_one(Job, job_id), session)
        assert client.delete(f"/v1/jobs/{job_id}").status_code == 204
    check(noted.scans())


def _finish(job: Job, session: Session) -> None:
    job.state = "cancelled"
    session.add(job)


def _readable(client: TestClient) -> list[str]:
    """Paths that a GET is answered at once: all pages, all routes but the stream of events, and a file of no rows."""
    app: Any = client.app
    routes = [path for path, methods in app.openapi()["paths"].items() if "get" in methods]
    return [*(route.path for route in pages.router.routes), *set(routes) - {"/v1/events", "/agent/{name}"}]  # type: ignore[attr-defined]
