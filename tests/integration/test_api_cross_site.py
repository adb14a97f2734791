"""Web pages of others can't change anything here; our own, and clients that are no browser, can."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

FOREIGN = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site", "origin": "http://localhost:3000"},
    {"sec-fetch-site": "cross-site", "origin": "http://localhost"},
    {"origin": "https://evil.example"},
    {"origin": "http://localhost:8080"},
    {"origin": "null"},
]
OWN = [
    {},
    {"origin": "http://localhost"},
    {"sec-fetch-site": "same-origin", "origin": "http://localhost"},
    {"sec-fetch-site": "none"},
    {"sec-fetch-site": "same-origin", "origin": "https://behind.a.proxy"},
]
JOB = {"model": "op:gemm:16,16,16", "budget": {"trials": 8}}


def submitted(client: TestClient) -> str:
    return str(client.post("/v1/jobs", json=JOB).json()["id"])


@pytest.mark.parametrize("headers", FOREIGN)
def test_a_page_of_another_site_can_not_cancel_a_job(client: TestClient, headers: dict[str, str]) -> None:
    job_id = submitted(client)
    answer = client.post(f"/v1/jobs/{job_id}/cancel", headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (403, "cross_site")
    assert f"POST /v1/jobs/{job_id}/cancel" in error["message"]
    assert error["hint"]
    assert client.get(f"/v1/jobs/{job_id}").json()["wish"] == ""


@pytest.mark.parametrize("headers", OWN)
def test_our_own_pages_and_other_clients_can(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post(f"/v1/jobs/{submitted(client)}/cancel", headers=headers).status_code == 202


def test_no_route_that_changes_something_is_open_to_other_sites(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    changing = [(method, path) for path, methods in paths.items() for method in methods if method != "get"]
    assert len(changing) > 5
    for method, path in changing:
        answer = client.request(method, path, headers={"sec-fetch-site": "cross-site"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "cross_site"), path


def test_reading_is_not_refused(client: TestClient) -> None:
    """What is read stays with the browser: no answer of ours allows another origin to see it."""
    answer = client.get("/v1/jobs", headers={"sec-fetch-site": "cross-site", "origin": "https://evil.example"})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
