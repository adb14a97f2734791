"""No request holds the web process up: what it sends is bounded in bytes, in memory and in work, before it is spent."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.turns import Turns
from tests.support.rows import make_record, make_workload
from tests.support.web_process import WebProcess, serve_folder
from tuner.config import Settings
from tuner.db import records
from tuner.db.engine import make_engine, read
from tuner.db.log_line import line_of

MIB = 2**20


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    with serve_folder(tmp_path_factory.mktemp("web")) as web:
        yield web


@pytest.fixture(scope="module")
def mib_at_start(web: WebProcess) -> float:
    """What the peak of its memory is seen against, in tests that follow each other as their bounds do."""
    return peak_mib(web)


def lines(count: int, workload: int = 1) -> bytes:
    """A log of so many records."""
    return "".join(
        line_of(make_record(f"c{n}", 1e-3, workload), make_workload(workload), n == 0) for n in range(count)
    ).encode()


def peak_mib(web: WebProcess) -> float:
    """The most memory that the process ever had."""
    (line,) = [
        line for line in Path(f"/proc/{web.process.pid}/status").read_text().splitlines() if line.startswith("VmHWM")
    ]
    return int(line.split()[1]) / 1024


def endless(block: bytes = b'"' * 65536) -> Iterator[bytes]:
    while True:
        yield block


@pytest.mark.parametrize(("path", "limit"), [("/v1/jobs", MIB), ("/v1/models", MIB), ("/v1/operators", 8 * MIB)])
def test_a_body_beyond_its_routes_limit_is_refused(client: TestClient, path: str, limit: int) -> None:
    answer = client.post(path, content=b" " * (limit + 1), headers={"content-type": "application/json"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (413, "body_too_large")
    assert str(limit) in error["message"]
    assert client.post(path, content=b" " * limit, headers={"content-type": "application/json"}).status_code == 422


def test_an_upload_beyond_the_setting_is_refused_with_the_way_out(client: TestClient) -> None:
    client.app.state.settings.max_upload_bytes = 4096  # type: ignore[attr-defined]
    answer = client.post("/v1/records/import", files={"file": ("a", b"x" * 5000)})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    assert "TUNER_MAX_UPLOAD_BYTES" in answer.json()["error"]["hint"]


def test_an_endless_body_without_a_length_is_refused_in_little_memory(web: WebProcess, mib_at_start: float) -> None:
    answer = web.post("/v1/jobs", content=endless())
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    assert peak_mib(web) - mib_at_start < 30


@pytest.mark.parametrize("form", [False, True])
def test_seven_gib_of_zeros_in_a_gzip_are_refused_soon_and_in_little_memory(
    web: WebProcess, mib_at_start: float, form: bool
) -> None:
    bomb = gzip.compress(bytes(64 * MIB)) * 112
    sent = {"files": {"file": ("zeros.gz", bomb)}} if form else {"content": bomb}
    answer = web.post("/v1/records/import", **sent)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "upload_invalid")
    assert "unpacks" in answer.json()["error"]["message"]
    assert peak_mib(web) - mib_at_start < 100


def test_a_line_of_many_brackets_takes_bounded_memory(web: WebProcess, mib_at_start: float) -> None:
    good = lines(1)
    line = good.replace(b'{"kind":"llvm"},null', b"[]," * (2 * MIB) + b"null").rstrip()  # six MiB, all of it lists
    answer = web.post("/v1/records/import", content=(line + b"\n") * 2 + good, timeout_sec=100)
    assert (answer.json()["imported"], answer.json()["skipped"]) == (1, 2)
    assert peak_mib(web) - mib_at_start < 512


def test_an_import_ends_when_its_client_leaves(web: WebProcess) -> None:
    content = lines(20_000, workload=2)
    host, port = web.url.removeprefix("http://").split(":")
    shown = f"Authorization: {web.headers['Authorization']}"
    head = f"POST /v1/records/import HTTP/1.1\r\nHost: localhost\r\n{shown}\r\nContent-Length: {len(content)}\r\n\r\n"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + content)
    # One imports at a time: this answers once that one is over.
    answer = web.post("/v1/records/import", content=lines(1, workload=3), timeout_sec=100)
    assert answer.json()["imported"] == 1
    engine = make_engine(web.settings)
    with read(engine) as session:
        assert records.find(session, make_workload(2).id).total < 20_000
    engine.dispose()


def test_imports_and_submits_at_once_all_succeed(web: WebProcess) -> None:
    def send(number: int) -> int:
        content = lines(1000, workload=number + 4)
        return web.post("/v1/records/import", content=content, timeout_sec=100).status_code

    def submit(number: int) -> int:
        job = {"model": "op:gemm:16,16,16", "budget": {"trials": 8}}
        return web.post("/v1/jobs", json=job, timeout_sec=100).status_code

    with ThreadPoolExecutor(12) as threads:
        imports = [threads.submit(send, number) for number in range(4)]
        submits = [threads.submit(submit, number) for number in range(8)]
    assert [one.result() for one in imports] == [200] * 4
    assert [one.result() for one in submits] == [201] * 8


def test_an_upload_leaves_nothing_on_the_disk(client: TestClient, settings: Settings) -> None:
    content = lines(1) + b" " * (3 * MIB)
    assert client.post("/v1/records/import", content=content).json()["imported"] == 1
    assert list(settings.temporary_dir.iterdir()) == []


def test_what_is_busy_says_when_to_come_again(client: TestClient) -> None:
    client.app.state.imports = Turns("imports", at_once=0, most_waiting=0)  # type: ignore[attr-defined]
    answer = client.post("/v1/records/import", content=lines(1))
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "busy")
    assert int(answer.headers["retry-after"]) > 0


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "job",
    [
        {"model": f"op:gemm:{'9' * 190},{'9' * 190},1"},
        {"model": '{"op": "gemm", "args": ' + "[" * 300},
        {"model": "minilm-l6", "target": '{"kind": "llvm", "mattr": [1, "a"]}'},
        {"model": "minilm-l6", "target": '{"kind": "llvm", "mcpu": ' + "[" * 9000},
        {"model": "minilm-l6", "target": "x" * 16_001},
        {"model": "minilm-l6", "batch": 10**400},
        {"model": "minilm-l6", "budget": {"trials": 10**400}},
        {"model": "minilm-l6", "head": "\ud800"},
    ],
    ids=range(8),
)
def test_a_job_of_impossible_numbers_and_names_is_refused(client: TestClient, job: dict[str, Any]) -> None:
    answer = client.post("/v1/jobs", content=json.dumps(job), headers={"content-type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["code"] in ("invalid_input", "budget_invalid", "model_unknown", "target_unknown")


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/models", "/v1/operators", "/v1/records/import"])
@pytest.mark.parametrize("body", [DEEP, '{"model": ' + DEEP, "9" * 9999, '"\\ud800"', "\x00"])
def test_bodies_that_are_hard_to_read_are_refused(client: TestClient, path: str, body: str) -> None:
    answer = client.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["error"]["hint"]


@pytest.mark.parametrize("number", ["9" * 20, "9" * 5000, "-1"])
def test_an_event_that_no_database_can_count_to_is_refused(client: TestClient, number: str) -> None:
    assert client.get("/v1/events", params={"last_event_id": number}).status_code == 422
    assert client.get("/v1/events", headers={"Last-Event-ID": number}).status_code == 422
