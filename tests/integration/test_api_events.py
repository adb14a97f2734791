from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest
from sqlalchemy import Engine

from tests.support.processes import patience, wait_until
from tests.support.rows import add_job
from tests.support.web_process import WebProcess, serve_folder, serve_process
from tuner.db import events, tokens
from tuner.db.engine import make_engine, write
from tuner.tokens import digest, new_token


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    with serve_folder(tmp_path_factory.mktemp("web")) as web:
        yield web


@pytest.fixture(scope="module")
def engine(web: WebProcess) -> Iterator[Engine]:
    """That of the web process: each test has a job of its own."""
    engine = make_engine(web.settings)
    yield engine
    engine.dispose()


def _emit(engine: Engine, job_id: str, *numbers: int) -> None:
    with write(engine) as session:
        for number in numbers:
            events.emit(session, "message", {"n": number}, job_id)


def _read(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """Events of the stream, comments left out."""
    event: dict[str, Any] = {}
    for line in response.iter_lines():
        name, _, value = line.partition(": ")
        if not line and event:
            yield event
            event = {}
        elif name:
            event[name] = value


def test_a_job_stream_starts_at_the_beginning_and_goes_on_live(web: WebProcess, engine: Engine) -> None:
    with write(engine) as session:
        job_id = add_job(session).id
    _emit(engine, job_id, 1, 2)
    _emit(engine, "job-other", 99)
    with web.events({"job_id": job_id}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        stream = _read(response)
        first, second = next(stream), next(stream)
        _emit(engine, job_id, 3)
        third = next(stream)
    bodies = [json.loads(event["data"]) for event in (first, second, third)]
    assert [body["data"]["n"] for body in bodies] == [1, 2, 3]
    assert [str(body["id"]) for body in bodies] == [event["id"] for event in (first, second, third)]
    assert {event["event"] for event in (first, second, third)} == {"message"}


@pytest.mark.parametrize("how", ["header", "query"])
def test_a_stream_goes_on_after_the_last_event_seen(web: WebProcess, engine: Engine, how: str) -> None:
    with write(engine) as session:
        job_id = add_job(session).id
    _emit(engine, job_id, 1, 2, 3)
    params, headers = {"job_id": job_id}, {}
    with web.events(params) as response:
        seen = next(_read(response))["id"]
    if how == "header":
        headers["Last-Event-ID"] = seen
    else:
        params["last_event_id"] = seen
    with web.events(params, headers) as response:
        stream = _read(response)
        assert [json.loads(next(stream)["data"])["data"]["n"] for _ in range(2)] == [2, 3]


def test_the_stream_of_all_jobs_starts_now(web: WebProcess, engine: Engine) -> None:
    _emit(engine, "job-a", 1)
    with web.events() as response:
        _emit(engine, "job-b", 2)
        assert json.loads(next(_read(response))["data"])["data"]["n"] == 2


def test_an_unknown_jobs_stream_is_not_found(web: WebProcess) -> None:
    answer = httpx.get(f"{web.url}/v1/events", params={"job_id": "job-none"}, headers=web.headers, timeout=patience(5))
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_a_stream_ends_soon_after_its_token_is_revoked(web: WebProcess, engine: Engine) -> None:
    token = new_token()
    with write(engine) as session:
        job_id = add_job(session).id
        tokens.add(session, "reader", "read", digest(token))
    _emit(engine, job_id, 1)
    with web.events({"job_id": job_id}, {"Authorization": f"Bearer {token}"}) as response:
        stream = _read(response)
        next(stream)
        with write(engine) as session:
            tokens.revoke(session, "reader")
        assert list(stream) == []


def test_the_web_process_ends_while_streams_are_open(web: WebProcess, engine: Engine) -> None:
    with write(engine) as session:
        job_id = add_job(session).id
    _emit(engine, job_id, 1)
    with serve_process(web.settings) as another:
        with another.events({"job_id": job_id}) as response:
            stream = _read(response)
            next(stream)
            another.process.send_signal(signal.SIGTERM)
            assert list(stream) == []
        assert another.process.wait(timeout=patience(5)) in (0, -signal.SIGTERM)


def test_streams_that_ended_leave_no_thread_behind(web: WebProcess, engine: Engine) -> None:
    with write(engine) as session:
        job_id = add_job(session).id
    _emit(engine, job_id, 1)

    def open_and_leave() -> None:
        with web.events({"job_id": job_id}) as response:
            next(_read(response))

    def threads() -> int:
        return psutil.Process(web.process.pid).num_threads()

    def left_by_twenty() -> int:
        before = threads()
        for _ in range(20):
            open_and_leave()
        return threads() - before

    open_and_leave()
    # Where some are at work at the same time the pool grows, but not again and again.
    wait_until(lambda: left_by_twenty() <= 1, 30, "streams that leave no thread")
