"""An engine that is stopped, gone or without workers is noticed in seconds and holds nobody up."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client, Nanny
from tornado.iostream import IOStream

from tests.support.engine import address_of, engine_process, engine_settings, until_answered
from tests.support.processes import command_of, free_port, is_running, kill_hard, stop_hard, wait_until, within
from tuner.config import Settings
from tuner.errors import EngineUnavailable
from tuner.jobs.engine import DaskEngine, Engine
from tuner.jobs.engine_probe import count_workers
from tuner.jobs.engine_tls import security

STAGES = "tests.support.engine_stages"
MOST_SEC = 6.0  # connecting and one question


@dataclass
class Running:
    """An engine process with one worker, and a client of it."""

    pid: int
    address: str
    client: DaskEngine
    settings: Settings

    def count(self) -> int | None:
        """Workers, as its scheduler says."""
        return count_workers(self.address, security(self.settings))

    def workers(self) -> list[int]:
        """Pids of the workers."""
        return [child.pid for child in psutil.Process(self.pid).children() if "spawn_main" in command_of(child)]


@contextmanager
def up(folder: Path, **env: str) -> Iterator[Running]:
    settings = engine_settings(folder)
    with engine_process(settings, **env) as process:
        address = address_of(process)
        engine = Running(process.pid, address, DaskEngine(address, settings, stages=STAGES), settings)
        wait_until(lambda: engine.count() == 1, 60, "the engine")
        yield engine
        engine.client.close()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Running]:
    with up(tmp_path) as found:
        yield found


CALLS: dict[str, Callable[[Engine], object]] = {
    "submit": lambda engine: engine.submit("more", "note", job_id="job-more"),
    "adopt": lambda engine: engine.adopt(["task"]),
    "slots": lambda engine: engine.slots(),
    "cancel": lambda engine: engine.cancel("task"),
}


@pytest.mark.parametrize("call", CALLS)
def test_call_of_a_stopped_engine_ends_in_time_and_works_again_when_it_goes_on(engine: Running, call: str) -> None:
    begin_task(engine.client)
    stop_hard(engine.pid)
    with within(MOST_SEC), pytest.raises(EngineUnavailable):
        CALLS[call](engine.client)
    os.kill(engine.pid, signal.SIGCONT)
    wait_until(lambda: slots(engine.client) == 1, 20, "the engine")


def test_cancel_that_a_stopped_engine_did_not_hear_is_made_good(engine: Running, tmp_path: Path) -> None:
    begin_task(engine.client)
    wait_until((tmp_path / "job-hang").exists, 20, "the task's begin")
    (worker,) = engine.workers()
    stop_hard(engine.pid)
    with pytest.raises(EngineUnavailable):
        engine.client.cancel("task")
    os.kill(engine.pid, signal.SIGCONT)
    until_answered(lambda: engine.client.cancel("task"))
    wait_until(lambda: not is_running(worker), 10, "the end of the task's process")


def test_new_client_of_a_stopped_engine_does_not_wait_for_ever(engine: Running) -> None:
    stop_hard(engine.pid)
    client = DaskEngine(engine.address, engine.settings, stages=STAGES)
    with within(MOST_SEC):
        with pytest.raises(EngineUnavailable):
            client.poll()
        client.close()


def test_waiting_for_an_engine_that_is_gone_takes_its_time(engine: Running) -> None:
    begin_task(engine.client)
    kill_hard(engine.pid)
    wait_until(lambda: slots(engine.client) == 0, 20, "the engine's end")
    begun = time.monotonic()
    for _ in range(10):
        assert slots(engine.client) == 0
        engine.client.wait(0.1)
    assert time.monotonic() - begun > 0.8


def test_worker_that_takes_long_to_come_back_comes_back(tmp_path: Path) -> None:
    """Dask gives a worker up after some seconds, which a busy machine may need to start it."""
    with up(tmp_path, DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT="100ms") as engine:
        (first,) = engine.workers()
        kill_hard(first)
        wait_until(lambda: engine.workers() not in ([first], []), 60, "its successor")
        wait_until(lambda: engine.count() == 1, 60, "its registration")


def test_probe_tells_an_engine_without_workers_from_one_that_is_not_there(engine: Running) -> None:
    with Client(engine.address, security=security(engine.settings), set_as_default=False) as client:
        client.run(close_for_good, nanny=True, wait=False)
    wait_until(lambda: engine.count() == 0, 20, "the worker's end")
    stop_hard(engine.pid)
    assert engine.count() is None
    kill_hard(engine.pid)
    assert count_workers(f"tls://127.0.0.1:{free_port()}", security(engine.settings)) is None


def test_engine_that_ends_between_connection_and_handshake_is_away(
    engine: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended_before(stream: IOStream, *args: Any, **kwargs: Any) -> Awaitable[IOStream]:
        stream.close()
        return start_tls(stream, *args, **kwargs)

    start_tls = IOStream.start_tls
    monkeypatch.setattr(IOStream, "start_tls", ended_before)
    assert engine.count() is None
    monkeypatch.setattr("tuner.jobs.engine.count_workers", lambda *_: 1)
    with pytest.raises(EngineUnavailable):
        engine.client.poll()


async def close_for_good(dask_worker: Nanny) -> None:
    await dask_worker.close()


def begin_task(engine: Engine) -> None:
    """Submit a task that does not end."""
    until_answered(lambda: engine.submit("task", "hang", job_id="job-hang"))


def slots(engine: Engine) -> int:
    try:
        return engine.slots()
    except EngineUnavailable:
        return 0
