"""Operators over REST."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

SCALED = (Path(__file__).parents[1] / "support" / "data" / "scaled.tir.json").read_text()


def test_operators_are_listed_with_their_parameters(client: TestClient) -> None:
    listed = {kind["name"]: kind["parameters"] for kind in client.get("/v1/operators").json()}
    assert listed["swish_gemm"] == ["M", "N", "K"]


@pytest.mark.parametrize("model", ["op:gemm:128,3072,768", '{"op": "gemm", "args": [128, 3072, 768]}'])
def test_an_operator_is_submitted_like_a_model(client: TestClient, model: str) -> None:
    answer = client.post("/v1/jobs", json={"model": model, "budget": {"trials": 8}, "seq_len": 64})
    job = answer.json()
    assert answer.status_code == 201
    assert (job["model"], job["kind"], job["batch"], job["seq_len"]) == ("op:gemm:128,3072,768", "operator", 1, 1)
    again = client.post("/v1/jobs", json={"model": job["model_id"], "budget": {"trials": 8}})
    assert again.json()["model_id"] == job["model_id"]


@pytest.mark.parametrize(
    ("model", "code"), [("op:gem:1,2,3", "model_unknown"), ("op:gemm:1", "invalid_input"), ("{}", "invalid_input")]
)
def test_a_wrong_operator_is_refused(client: TestClient, model: str, code: str) -> None:
    answer = client.post("/v1/jobs", json={"model": model})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, code)


def test_an_operator_of_ones_own_is_added_and_submitted(client: TestClient) -> None:
    sent = {"name": "scaled", "tir": SCALED, "constants": [1]}
    model = client.post("/v1/operators", json=sent)
    assert model.status_code == 201
    job = client.post("/v1/jobs", json={"model": model.json()["name"], "budget": {"trials": 8}}).json()
    assert (job["kind"], job["gflops"]) == ("operator", None)
    evil = client.post("/v1/operators", json=sent | {"tir": SCALED.replace("tirx.exp", "tirx.call_extern")})
    assert (evil.status_code, evil.json()["error"]["code"]) == (422, "model_invalid")
    assert client.post("/v1/operators", json=sent | {"name": "../x"}).status_code == 422


def test_pages_show_an_operator_without_batch_and_tokens(client: TestClient) -> None:
    job = client.post("/v1/jobs", json={"model": "op:gemm:128,3072,768", "budget": {"trials": 8}}).json()
    for page in ("/", f"/jobs/{job['id']}"):
        text = client.get(page).text
        assert "op:gemm:128,3072,768" in text
        assert "1 × 1" not in text
        assert "sequence 1" not in text
