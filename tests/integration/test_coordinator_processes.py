"""The coordinator on a real engine whose processes are killed, and what a coordinator process may import."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from rpc.lifeline import python_module
from tests.support.coordination import Bench
from tests.support.engine import engine_process, engine_settings, patient, until_answered
from tests.support.processes import (
    ROOT,
    free_port,
    is_running,
    kill_hard,
    patience,
    python_code,
    running,
    running_module,
    wait_until,
)
from tests.support.slow_stages import BEFORE_HELD, HELD_FILE, PID_FILE
from tuner.config import Settings
from tuner.db.engine import read
from tuner.db.leases import is_held
from tuner.db.models import Record
from tuner.errors import EngineUnavailable
from tuner.jobs.engine import DaskEngine
from tuner.jobs.leadership import LEASE


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return engine_settings(tmp_path / "data")


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def dask(settings: Settings, port: int) -> Iterator[DaskEngine]:
    """A client of the engine at ``port``, whether one runs there or not."""
    engine = patient(f"tls://127.0.0.1:{port}", settings, "tests.support.slow_stages")
    yield engine
    engine.close()


@pytest.fixture
def bench(settings: Settings, engine: Engine, dask: DaskEngine) -> Bench:
    """A coordinator on the real engine; its clock is the real one."""
    bench = Bench(settings, engine)
    bench.coordinator = bench.successor(dask)
    return bench


def test_killed_worker_loses_one_round_and_nothing_is_measured_twice(bench: Bench, dask: DaskEngine, port: int) -> None:
    with engine_process(bench.settings, port):
        job_id = run_into_a_round(bench, dask)
        kill_hard(worker_of(bench))
        let_go(bench)
        run_to_the_end(bench, dask, job_id)
    assert [row.state for row in bench.rounds(job_id)].count("lost") == 1
    assert bench.job(job_id).trials == len(candidates(bench)) == len(set(candidates(bench))) == 64


def test_killed_engine_loses_one_round_and_tuning_goes_on(bench: Bench, dask: DaskEngine, port: int) -> None:
    with engine_process(bench.settings, port) as process:
        job_id = run_into_a_round(bench, dask)
        worker = worker_of(bench)
        kill_hard(process.pid)
        wait_until(lambda: tick(bench, dask) and "waiting for the engine" in bench.job(job_id).message, 20)
        wait_until(lambda: not is_running(worker), 5, "the worker's end")
        let_go(bench)
    with engine_process(bench.settings, port):
        run_to_the_end(bench, dask, job_id)
    assert [row.state for row in bench.rounds(job_id)].count("lost") == 1
    assert bench.job(job_id).attempts == 0
    assert bench.job(job_id).trials == len(candidates(bench)) == len(set(candidates(bench))) == 64


def test_successor_of_a_killed_coordinator_loses_no_round(bench: Bench, dask: DaskEngine, port: int) -> None:
    with engine_process(bench.settings, port):
        job_id = run_into_a_round(bench, dask)
        dask.close()
        bench.expire_lease()
        bench.coordinator = bench.successor(dask)
        tick(bench, dask)
        assert len(bench.rounds(job_id, "running")) == 1
        let_go(bench)
        run_to_the_end(bench, dask, job_id)
    assert {row.state for row in bench.rounds(job_id)} == {"done"}


def test_cancel_ends_a_round_that_does_not_end(bench: Bench, dask: DaskEngine, port: int) -> None:
    with engine_process(bench.settings, port):
        job_id = run_into_a_round(bench, dask)
        (row,) = bench.rounds(job_id, "running")
        until_answered(lambda: dask.cancel(row.id))
        until_answered(lambda: dask.submit("other", "verify", job_id=job_id))
        kinds: list[str] = []

        def has_ended() -> bool:
            with suppress(EngineUnavailable):
                kinds.extend(outcome.kind for outcome in dask.poll())
            return bool(kinds)

        wait_until(has_ended, 20, "the next task")
    assert kinds == ["done"]
    assert len(candidates(bench)) == BEFORE_HELD


def test_coordinator_never_imports_tvm_or_torch(tmp_path: Path) -> None:
    code = """
import sys
from tests.support.coordination import Bench
from tuner.config import Settings
from tuner.db.engine import make_engine
from tuner.db.migrate import upgrade
settings = Settings(data_dir=sys.argv[1])
upgrade(settings)
bench = Bench(settings, make_engine(settings))
bench.run_to(bench.submit(), "succeeded")
print(sorted({name.split(".")[0] for name in sys.modules} & {"tvm", "tvm_ffi", "torch"}))
"""
    done = subprocess.run(
        python_code(code, str(tmp_path)), cwd=ROOT, capture_output=True, text=True, timeout=patience(60)
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_coordinator_process_holds_the_lease_and_gives_it_back(engine: Engine, settings: Settings, port: int) -> None:
    argv = python_module("tuner.jobs.coordinator_process")
    with running(argv, **settings.model_copy(update={"engine": f"tls://127.0.0.1:{port}"}).as_env()) as process:
        wait_until(lambda: holds_lease(engine), 30, "the lease")
        process.terminate()
        assert process.wait(patience(5)) == 0
    assert not holds_lease(engine)


def test_coordinator_without_an_engine_says_what_to_set(settings: Settings) -> None:
    with running_module("tuner.jobs.coordinator_process") as process:
        output, _ = process.communicate(timeout=patience(30))
    assert process.returncode != 0
    assert "TUNER_ENGINE" in output


def run_into_a_round(bench: Bench, dask: DaskEngine) -> str:
    """Until a round has measured some of its candidates, and is held there."""
    (bench.settings.root / HELD_FILE).touch()
    job_id = bench.submit()
    wait_until(lambda: tick(bench, dask) and len(candidates(bench)) == BEFORE_HELD, 60, "a round")
    return job_id


def worker_of(bench: Bench) -> int:
    """The process that runs, or ran, the round."""
    return int((bench.settings.root / PID_FILE).read_text())


def let_go(bench: Bench) -> None:
    """Let rounds go on to their ends."""
    (bench.settings.root / HELD_FILE).unlink()


def run_to_the_end(bench: Bench, dask: DaskEngine, job_id: str) -> None:
    wait_until(lambda: tick(bench, dask) and bench.job(job_id).state in ("succeeded", "failed"), 60, "the job's end")
    assert bench.job(job_id).state == "succeeded", bench.job(job_id).error


def tick(bench: Bench, dask: DaskEngine) -> bool:
    """A pass in real time."""
    bench.now = time.monotonic()
    bench.coordinator.tick()
    dask.wait(0.05)
    return True


def candidates(bench: Bench) -> list[str]:
    """Workload and candidate of every record."""
    with read(bench.database) as session:
        return [f"{row.workload_id}/{row.candidate}" for row in session.exec(select(Record))]


def holds_lease(engine: Engine) -> bool:
    with read(engine) as session:
        return is_held(session, LEASE)
