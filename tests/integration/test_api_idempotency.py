"""A submission whose answer was lost can be sent again: under its key it is one."""

from __future__ import annotations

import httpx
from fastapi.testclient import TestClient

from tests.support import samples
from tuner.client.http import Client
from tuner.schemas import JobIn

JOB = {"model": "op:gemm:16,16,16", "budget": {"trials": 8}}
KEY = {"Idempotency-Key": "a-key"}


def test_the_same_again_under_a_key_is_one_job(client: TestClient) -> None:
    first, again = (client.post("/v1/jobs", json=JOB, headers=KEY) for _ in range(2))
    assert (first.status_code, again.status_code, again.json()["id"]) == (201, 201, first.json()["id"])
    assert client.get("/v1/jobs").json()["total"] == 1
    assert client.post("/v1/jobs", json=JOB).json()["id"] != first.json()["id"]


def test_a_key_is_for_one_wish(client: TestClient) -> None:
    job_id = client.post("/v1/jobs", json=JOB, headers=KEY).json()["id"]
    answer = client.post("/v1/jobs", json={**JOB, "cold": True}, headers=KEY)
    assert (answer.status_code, job_id in answer.json()["error"]["message"]) == (409, True)
    assert client.post("/v1/jobs", json=JOB, headers={"Idempotency-Key": "x" * 201}).status_code == 422


def test_callers_do_not_share_keys_and_a_refused_wish_takes_none(client: TestClient) -> None:
    assert client.post("/v1/jobs", json={"model": "no such"}, headers=KEY).status_code == 422
    mine = client.post("/v1/jobs", json=JOB, headers=KEY).json()["id"]
    token = client.post("/v1/tokens", json={"name": "ci"}).json()["token"]
    theirs = client.post("/v1/jobs", json=JOB, headers={**KEY, "Authorization": f"Bearer {token}"})
    assert theirs.json()["id"] != mine


def test_a_job_goes_with_its_key(client: TestClient) -> None:
    from tuner.db.engine import write
    from tuner.db.models import Job

    job_id = client.post("/v1/jobs", json=JOB, headers=KEY).json()["id"]
    with write(client.app.state.engine) as session:  # type: ignore[attr-defined]
        session.get(Job, job_id).state = "failed"
    assert client.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert client.post("/v1/jobs", json=JOB, headers=KEY).status_code == 201


def test_a_client_whose_answer_was_lost_sends_the_same_key_again() -> None:
    keys: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) == 1:
            raise httpx.ReadError("the connection broke")
        return httpx.Response(201, json=samples.job().model_dump(mode="json"))

    Client("http://service.test", transport=httpx.MockTransport(answer)).submit(JobIn(model="minilm-l6"))
    assert len(keys) == 2
    assert len(set(keys)) == 1
