"""Models and the files they are made of, over REST: nobody's file holds up the service."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from api import lookups
from tests.support.no_io import taken
from tests.support.processes import patience
from tests.support.tiny_models import write_untrained
from tests.support.web import Web, serve
from tuner.importers import source


def test_a_submit_looks_at_files_before_it_takes_the_write_lock(client: TestClient, tmp_path: Path) -> None:
    folder = str(write_untrained(tmp_path / "model"))
    job = client.post("/v1/jobs", json={"model": folder, "seq_len": 16})
    assert job.status_code == 201
    again = client.post("/v1/jobs", json={"model": job.json()["model_id"], "seq_len": 16})
    assert again.json()["model_id"] == job.json()["model_id"]
    assert client.post("/v1/models", json={"name": folder}).status_code == 201
    assert taken() == []


def test_a_named_pipe_in_the_place_of_a_file_is_refused_by_name(client: TestClient, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    for path, body in (("/v1/jobs", {"model": str(tmp_path)}), ("/v1/models", {"name": str(tmp_path)})):
        answer = client.post(path, json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "model_invalid")
        assert f"{tmp_path}/config.json is a named pipe" in answer.json()["error"]["message"]


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with serve(tmp_path / "data") as web:
        yield web


def test_folders_that_do_not_answer_hold_up_no_page_and_no_stream(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, answers = threading.Semaphore(0), threading.Event()

    def hang(*_args: object) -> None:
        hangs.release()
        answers.wait()

    monkeypatch.setattr(source, "from_folder", hang)
    monkeypatch.setattr(lookups, "DEADLINE_SEC", 3.0)
    body = {"name": str(write_untrained(tmp_path / "model"))}
    with (
        httpx.Client(base_url=web.url, headers=web.headers, timeout=patience(20)) as client,
        ThreadPoolExecutor(40) as posts,
    ):
        try:
            asked = [posts.submit(client.post, "/v1/models", json=body) for _ in range(40)]
            for _ in range(lookups.AT_ONCE):
                assert hangs.acquire(timeout=patience(10))
            assert client.get("/").status_code == 200
            with client.stream("GET", "/v1/events") as stream:
                assert stream.status_code == 200
            refused = [one.result().json()["error"] for one in asked]
        finally:
            answers.set()
    assert {error["code"] for error in refused} == {"model_unreachable"}
    assert "took longer than 3 s" in refused[0]["message"]
    assert not hangs.acquire(blocking=False)  # those that waited their turn were never begun
