"""What every engine promises, held against Dask with real processes and against the fake of the other tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from tests.support import engine_stages
from tests.support.engine import address_of, engine_process, engine_settings, patient, until_answered
from tests.support.fake_engine import FakeCluster, FakeEngine, Hangs, ProcessDied
from tests.support.processes import free_port, is_running, kill_hard, oom_score_adj, wait_until
from tuner.config import Settings
from tuner.errors import EngineUnavailable
from tuner.jobs.engine import DaskEngine, Engine, Outcome

STAGES = "tests.support.engine_stages"


class Bench(Protocol):
    """An engine under test, and the few things that only its own kind can do."""

    def connect(self) -> Engine:
        """A new client of the same engine."""

    def kill_worker_of(self, job_id: str) -> None:
        """``kill -9`` the process that runs this job's stage."""


@dataclass
class DaskBench:
    settings: Settings
    address: str

    def connect(self) -> Engine:
        return patient(self.address, self.settings, STAGES, lasts=True)

    def kill_worker_of(self, job_id: str) -> None:
        kill_hard(worker_of(self.settings, job_id))


@dataclass
class FakeBench:
    settings: Settings
    cluster: FakeCluster

    def connect(self) -> Engine:
        return FakeEngine(self.cluster, self.settings)

    def kill_worker_of(self, job_id: str) -> None:
        def die() -> None:
            raise ProcessDied

        self.cluster.running = dict.fromkeys(self.cluster.running, die)


@pytest.fixture(scope="module")
def dask_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A running engine process and its data directory."""
    folder = tmp_path_factory.mktemp("engine")
    with engine_process(engine_settings(folder)) as process:
        address = address_of(process)
        assert process.stdout is not None
        threading.Thread(target=process.stdout.read, daemon=True).start()  # or a full pipe would stop it
        yield address, folder


@pytest.fixture(params=["dask", "fake"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    if request.param == "dask":
        address, folder = request.getfixturevalue("dask_address")
        return DaskBench(engine_settings(folder), address)
    (tmp_path / "data").mkdir()
    stages = {
        "note": engine_stages.note,
        "refuse": engine_stages.refuse,
        "crash": engine_stages.crash,
        "hang": hang,
    }
    return FakeBench(Settings(data_dir=tmp_path / "data"), FakeCluster(stages))


@pytest.fixture
def engine(bench: Bench) -> Iterator[Engine]:
    engine = bench.connect()
    yield engine
    engine.close()


@pytest.fixture
def job_id(request: pytest.FixtureRequest) -> str:
    """A name that no other test of this engine has used."""
    return f"job-{abs(hash(request.node.name)):x}"


def test_a_task_that_returns_is_done_and_reported_once(engine: Engine, job_id: str) -> None:
    engine.submit(f"{job_id}/note", "note", job_id=job_id)
    assert outcome_of(engine, f"{job_id}/note").kind == "done"
    assert engine.poll() == []


def test_an_error_for_people_keeps_its_code_message_and_hint(engine: Engine, job_id: str) -> None:
    engine.submit(f"{job_id}/refuse", "refuse", job_id=job_id)
    outcome = outcome_of(engine, f"{job_id}/refuse")
    assert outcome.kind == "failed"
    assert outcome.error == {
        "code": "model_invalid",
        "message": f"The model of {job_id} has no config.",
        "hint": "Point at a folder that has one.",
    }


def test_an_unforeseen_error_becomes_a_failed_stage_that_names_it(engine: Engine, job_id: str) -> None:
    engine.submit(f"{job_id}/crash", "crash", job_id=job_id)
    outcome = outcome_of(engine, f"{job_id}/crash")
    assert outcome.error is not None
    assert outcome.error["code"] == "stage_failed"
    assert "ZeroDivisionError: one over nothing" in outcome.error["message"]


def test_a_task_whose_process_is_killed_is_lost_and_the_next_one_runs(
    bench: Bench, engine: Engine, job_id: str
) -> None:
    engine.submit(f"{job_id}/hang", "hang", job_id=job_id)
    wait_until_begun(bench, engine, job_id)
    bench.kill_worker_of(job_id)
    assert outcome_of(engine, f"{job_id}/hang").kind == "lost"
    engine.submit(f"{job_id}/note", "note", job_id=f"{job_id}-next")
    assert outcome_of(engine, f"{job_id}/note").kind == "done"


def test_a_cancelled_task_ends_unreported_and_makes_room(bench: Bench, engine: Engine, job_id: str) -> None:
    engine.submit(f"{job_id}/hang", "hang", job_id=job_id)
    wait_until_begun(bench, engine, job_id)
    engine.cancel(f"{job_id}/hang")
    engine.submit(f"{job_id}/note", "note", job_id=f"{job_id}-next")
    assert outcome_of(engine, f"{job_id}/note").kind == "done"


def test_a_task_outlives_its_submitter_and_is_adopted(bench: Bench, job_id: str) -> None:
    first = bench.connect()
    first.submit(f"{job_id}/hang", "hang", job_id=job_id)
    wait_until_begun(bench, first, job_id)
    first.close()
    second = bench.connect()
    second.adopt([f"{job_id}/hang"])
    assert second.poll() == []
    bench.kill_worker_of(job_id)
    assert outcome_of(second, f"{job_id}/hang").kind == "lost"
    second.close()


def test_a_task_that_ended_while_nobody_watched_is_reported_to_its_adopter(bench: Bench, job_id: str) -> None:
    first = bench.connect()
    first.submit(f"{job_id}/refuse", "refuse", job_id=job_id)
    first.close()
    second = bench.connect()
    second.adopt([f"{job_id}/refuse"])
    assert outcome_of(second, f"{job_id}/refuse").kind == "failed"
    second.close()


def test_an_unknown_task_is_gone(engine: Engine, job_id: str) -> None:
    engine.adopt([f"{job_id}/never"])
    assert outcome_of(engine, f"{job_id}/never").kind == "gone"


def test_one_worker_is_one_slot(engine: Engine) -> None:
    wait_until(lambda: engine.slots(), 20, "a worker")
    assert engine.slots() == 1


def test_engine_that_is_not_there_says_where_it_was_looked_for(settings: Settings) -> None:
    engine = DaskEngine(f"tls://127.0.0.1:{free_port()}", engine_settings(settings.root))
    with pytest.raises(EngineUnavailable, match=r"tls://127\.0\.0\.1"):
        engine.poll()


def test_killed_engine_leaves_no_worker_and_its_successor_knows_nothing(tmp_path: Path) -> None:
    port = free_port()
    settings = engine_settings(tmp_path)
    engine = patient(f"tls://127.0.0.1:{port}", settings, STAGES)
    with engine_process(settings, port) as process:
        wait_until(lambda: slots_of(engine), 30, "the engine")
        until_answered(lambda: engine.submit("task", "hang", job_id="job-hang"))
        wait_until((tmp_path / "job-hang").exists, 10, "the task")
        worker = worker_of(settings, "job-hang")
        kill_hard(process.pid)
        wait_until(lambda: not is_running(worker), 5, "the worker's end")
    with engine_process(settings, port):
        wait_until(lambda: slots_of(engine), 30, "the engine's successor")
        assert outcome_of(engine, "task") == Outcome("task", "gone")
        engine.close()


def test_workers_may_use_all_cores(tmp_path: Path) -> None:
    """Dask would set OMP_NUM_THREADS=1 in its workers, and PyTorch in them would run on one core."""
    settings = engine_settings(tmp_path)
    with engine_process(settings) as process:
        engine = patient(address_of(process), settings, STAGES, lasts=True)
        engine.submit("task", "note", job_id="job-note")
        assert outcome_of(engine, "task").kind == "done"
        worker = worker_of(settings, "job-note")
        environment = Path(f"/proc/{worker}/environ").read_bytes()
        assert oom_score_adj(worker) == 500  # before the scheduler, which would take all of the work with it
        engine.close()
    assert b"OMP_NUM_THREADS=1\0" not in environment
    assert b"TVM_NUM_THREADS=" in environment


def outcome_of(engine: Engine, key: str) -> Outcome:
    """The outcome of this task; it is the only one that is reported."""
    found: list[Outcome] = []

    def look() -> bool:
        engine.wait(0.05)
        with suppress(EngineUnavailable):
            found.extend(engine.poll())
        return bool(found)

    wait_until(look, 30, f"the end of {key}")
    assert [outcome.key for outcome in found] == [key]
    return found[0]


def wait_until_begun(bench: Bench, engine: Engine, job_id: str) -> None:
    """Until the job's hanging stage runs."""
    if isinstance(bench, DaskBench):
        wait_until((bench.settings.root / job_id).exists, 20, "the task's begin")
    assert engine.poll() == []


def worker_of(settings: Settings, job_id: str) -> int:
    """Pid of the process that ran the job's stage."""
    return int((settings.root / job_id).read_text())


def slots_of(engine: Engine) -> int:
    try:
        return engine.slots()
    except EngineUnavailable:
        return 0


def hang(settings: Settings, job_id: str) -> None:
    raise Hangs
