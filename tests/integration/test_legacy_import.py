"""A log of another tuner over REST: stored, listed, kept apart."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

LOG = (Path(__file__).parents[1] / "support" / "data" / "swish_gemm_m1_gpu.ansor.json").read_bytes()


def _send(client: TestClient, content: bytes) -> dict:
    answer = client.post("/v1/records/import", content=content)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_an_ansor_log_is_recognised_stored_and_summed_up(client: TestClient) -> None:
    out = _send(client, LOG)
    assert (out["imported"], out["duplicates"], out["skipped"]) == (22, 0, 0)
    (log,) = out["legacy"]
    assert (log["model"], round(log["gflops"])) == ("op:swish_gemm:128,3072,768", 873)
    again = _send(client, gzip.compress(LOG))
    assert (again["imported"], again["duplicates"]) == (0, 22)


def test_its_records_are_listed_in_a_family_of_their_own(client: TestClient) -> None:
    _send(client, LOG)
    page = client.get("/v1/records", params={"target_family": "ansor-metal"}).json()
    assert page["total"] == 22
    assert page["items"][0]["mean_us"] < page["items"][1]["mean_us"]
    assert {item["source"] for item in page["items"]} == {"legacy"}
    lines = client.get("/v1/records/export", params={"target_family": "ansor-metal"}).text.splitlines()
    assert len(lines) == 18
    assert json.loads(lines[0])["record"]["trace"][0] == ["CI", 4]


def test_damaged_lines_are_counted_and_the_rest_is_kept(client: TestClient) -> None:
    first, second, *rest = LOG.splitlines(keepends=True)
    out = _send(client, b"".join([first[:300] + b"\n", second, b'{"i": 1, "r": 2, "v": 3}\n', *rest]))
    assert (out["imported"], out["skipped"]) == (21, 2)
    assert [error.split(":")[0] for error in out["errors"]] == ["line 1", "line 3"]


def test_a_log_of_something_unknown_is_kept_as_a_reference(client: TestClient) -> None:
    out = _send(client, LOG.replace(b"swish_gemm", b"conv9d"))
    (log,) = out["legacy"]
    assert (out["imported"], log["model"], log["replayable"], log["gflops"]) == (22, "", 0, None)
    assert "no operator conv9d" in log["obstacles"][0]


def test_what_is_exported_of_it_comes_back_the_same(client: TestClient, empty: TestClient) -> None:
    _send(client, LOG)
    exported = client.get("/v1/records/export", params={"failed": True}).content
    assert _send(empty, exported)["imported"] == 22
    assert empty.get("/v1/records/export", params={"failed": True}).content == exported


AUTOTVM = [["dense", [1, 64, "float32"]], {"i": 0, "c": None, "e": []}]
OLDER = {"i": ["llvm", "dense_nopack.x86", [], {}, *AUTOTVM], "r": [[0.001], 0, 1.0, 1.6e9], "v": 0.1}
NEWER = {
    "input": ["llvm", "dense_nopack.x86", [], {}],
    "config": {},
    "result": [[0.001], 0, 1.0, 1.6e9],
    "version": 0.2,
}


@pytest.mark.parametrize("line", [OLDER, NEWER])
def test_a_log_of_tvms_older_tuner_is_refused_by_its_name(client: TestClient, line: dict[str, Any]) -> None:
    answer = client.post("/v1/records/import", content=(json.dumps(line) + "\n").encode() * 3)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "upload_invalid")
    assert "AutoTVM" in answer.json()["error"]["message"]
    assert client.get("/v1/records").json()["total"] == 0
