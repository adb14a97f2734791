from __future__ import annotations

import gzip
import io
import json
import zipfile

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from tests.support.rows import make_record, make_workload
from tuner.db import records
from tuner.db.engine import write


@pytest.fixture
def exported(client: TestClient, engine: Engine) -> bytes:
    """The log of three good records; the database holds a failed one too."""
    with write(engine) as session:
        records.put_workload(session, make_workload())
        for candidate, mean_sec in (("a", 3e-3), ("b", 1e-3), ("c", 2e-3), ("bad", None)):
            records.add(session, make_record(candidate, mean_sec))
    return client.get("/v1/records/export").content


def test_records_are_queried_fastest_first(client: TestClient, exported: bytes) -> None:
    page = client.get("/v1/records", params={"workload_id": make_workload().id, "failed": False, "limit": 2}).json()
    assert ([item["candidate"] for item in page["items"]], page["total"]) == (["b", "c"], 3)
    assert client.get("/v1/records", params={"target_family": "other"}).json()["total"] == 0
    (failed,) = client.get("/v1/records", params={"failed": True}).json()["items"]
    assert (failed["candidate"], failed["mean_us"], failed["error_class"]) == ("bad", None, "build")


def test_an_export_is_a_log_of_good_records_unless_asked_otherwise(client: TestClient, exported: bytes) -> None:
    candidates = [json.loads(line)["record"]["candidate"] for line in exported.splitlines()]
    assert candidates == ["b", "c", "a"]
    everything = client.get("/v1/records/export", params={"failed": True}).text.splitlines()
    assert json.loads(everything[-1])["record"]["candidate"] == "bad"
    assert client.get("/v1/records/export", params={"target_family": "other"}).content == b""


def test_an_export_as_metaschedule_is_its_pair_of_files(client: TestClient, exported: bytes) -> None:
    answer = client.get("/v1/records/export", params={"format": "metaschedule"})
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        workloads = archive.read("database_workload.json").splitlines()
        rows = [json.loads(line) for line in archive.read("database_tuning_record.json").splitlines()]
    assert [json.loads(line)[0] for line in workloads] == ["1"]
    assert [row[0] for row in rows] == [0, 0, 0]


def test_an_export_as_metaschedule_leaves_out_kernels_without_a_schedule(
    client: TestClient, engine: Engine, exported: bytes
) -> None:
    with write(engine) as session:
        records.add(session, make_record("written", 1e-3, trace='{"kernel":"attention"}'))
    answer = client.get("/v1/records/export", params={"format": "metaschedule"})
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert b"attention" not in archive.read("database_tuning_record.json")


def test_a_pair_that_was_exported_is_imported_again(client: TestClient, empty: TestClient, exported: bytes) -> None:
    pair = client.get("/v1/records/export", params={"format": "metaschedule", "failed": True}).content
    for imported, duplicates in ((4, 0), (0, 4)):
        out = empty.post("/v1/records/import", content=pair).json()
        assert out == {"imported": imported, "duplicates": duplicates, "skipped": 0, "errors": []}


@pytest.mark.parametrize("how", ["body", "gzip", "form"])
def test_a_log_is_imported_and_known_records_are_counted(empty: TestClient, exported: bytes, how: str) -> None:
    def send() -> httpx.Response:
        if how == "form":
            return empty.post("/v1/records/import", files={"file": ("records.jsonl", exported)})
        return empty.post("/v1/records/import", content=gzip.compress(exported) if how == "gzip" else exported)

    assert send().json() == {"imported": 3, "duplicates": 0, "skipped": 0, "errors": []}
    assert send().json() == {"imported": 0, "duplicates": 3, "skipped": 0, "errors": []}


def test_damaged_lines_are_skipped_and_the_rest_is_kept(empty: TestClient, exported: bytes) -> None:
    first, second, third = exported.splitlines(keepends=True)
    out = empty.post("/v1/records/import", content=first + b"{oops\n" + second + third[:-30]).json()
    assert (out["imported"], out["skipped"]) == (2, 2)
    assert [error.split(":")[0] for error in out["errors"]] == ["line 2", "line 4"]


@pytest.mark.parametrize(
    ("content", "content_type", "says"),
    [
        (b"", "application/x-ndjson", "empty"),
        (b"<html>", "text/html", "no line"),
        (
            b"--b\r\ncontent-disposition: form-data; name=other\r\n\r\n1\r\n--b--",
            "multipart/form-data; boundary=b",
            "file",
        ),
        (b"--b\r\ncontent-disposition: form-data; name=file; fil", "multipart/form-data; boundary=b", "form"),
        (b"", "multipart/form-data", "form"),
        (b"PK\x03\x04rest", "application/zip", "none of MetaSchedule's records"),
    ],
)
def test_an_unusable_upload_is_refused(empty: TestClient, content: bytes, content_type: str, says: str) -> None:
    answer = empty.post("/v1/records/import", content=content, headers={"content-type": content_type})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "upload_invalid")
    assert says in error["message"]
    assert error["hint"]
