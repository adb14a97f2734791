"""Web pages of others get nothing done here; our own, and clients that are no browser, do."""

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


def test_no_route_is_open_to_other_sites(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    routes = [(method, path) for path, methods in paths.items() for method in methods]
    assert len(routes) > 25
    for method, path in [*routes, ("get", "/static/favicon.svg"), ("get", "/devices"), ("head", "/v1/jobs")]:
        answer = client.request(method, path, headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"})
        assert answer.status_code == 403, path
        assert method == "head" or answer.json()["error"]["code"] == "cross_site", path


@pytest.mark.parametrize("headers", FOREIGN)
def test_a_page_of_another_site_can_not_make_us_read_everything(client: TestClient, headers: dict[str, str]) -> None:
    """As an image, say: it could not see what comes, but that is made on the machine that measures."""
    answer = client.get("/v1/records/export?format=metaschedule", headers={**headers, "sec-fetch-dest": "image"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "cross_site")


LINK = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


@pytest.mark.parametrize("path", ["/", "/devices", "/artifacts?offset=25"])
def test_a_link_of_another_site_leads_to_our_pages(client: TestClient, path: str) -> None:
    assert client.get(path, headers=LINK).status_code == 200


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("/v1/records/export", {}),
        ("/v1/jobs", {}),
        ("/", {"sec-fetch-dest": "iframe"}),
        ("/", {"sec-fetch-mode": "no-cors"}),
        ("/", {"sec-fetch-dest": "object"}),
    ],
)
def test_a_link_leads_to_whole_pages_only(client: TestClient, path: str, changes: dict[str, str]) -> None:
    assert client.get(path, headers={**LINK, **changes}).status_code == 403


def test_a_form_of_another_site_is_no_link(client: TestClient) -> None:
    assert client.post("/v1/jobs", json=JOB, headers=LINK).status_code == 403


def test_no_answer_lets_another_origin_see_it(client: TestClient) -> None:
    assert "access-control-allow-origin" not in client.get("/v1/jobs", headers={"origin": "http://localhost"}).headers
