"""A browser gets its cookie from the URL that the service printed, or by a form; the token is gone from the URL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import metadata

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from api.app import create_app
from tuner.config import Settings
from tuner.tokens import own_token

PAGE = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def browser(settings: Settings, engine: Engine) -> Iterator[TestClient]:
    """Keeps cookies, and follows redirects when told to."""
    app = create_app(settings)
    with TestClient(app, base_url="http://localhost:8000", follow_redirects=False, headers=PAGE) as client:
        yield client


@pytest.fixture
def token(browser: TestClient, settings: Settings) -> str:
    return own_token(settings.token_file)


def test_the_printed_url_signs_a_browser_in_and_is_left_at_once(browser: TestClient, token: str) -> None:
    answer = browser.get("/", params={"token": token, "state": "failed"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/?state=failed")
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"tunesmith-8000={token};")
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
    page = browser.get(answer.headers["location"])
    assert page.status_code == 200
    assert token not in page.text
    assert browser.get("/v1/jobs").status_code == 200
    assert browser.get("/v1/tokens").status_code == 200


def test_the_cookie_is_for_https_only_where_it_came_by_that(settings: Settings, engine: Engine) -> None:
    with TestClient(create_app(settings), base_url="https://localhost", follow_redirects=False) as browser:
        cookie = browser.get("/", params={"token": own_token(settings.token_file)}).headers["set-cookie"]
    assert cookie.startswith("tunesmith-443=")
    assert "Secure" in cookie.split("; ")


@pytest.mark.parametrize("path", ["/", "/jobs/job-1?x=1", "/artifacts", "/devices", "/nowhere", "/jobs/x?token=wrong"])
def test_who_comes_without_a_token_is_told_where_to_find_one(browser: TestClient, path: str) -> None:
    answer = browser.get(path)
    assert answer.status_code == 401
    assert "tunesmith serve" in answer.text
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    (then,) = re.findall(r'name="then" value="([^"]*)"', answer.text)
    assert then == path.replace("?token=wrong", "")
    assert ("does not know that token" in answer.text) == ("wrong" in path)
    assert "set-cookie" not in answer.headers
    assert metadata.version("tunesmith") not in answer.text


@pytest.mark.parametrize("path", ["/v1/jobs", "/openapi.json"])
def test_who_is_no_person_gets_json(browser: TestClient, token: str, path: str) -> None:
    for params in ({}, {"token": token}):  # a token in the URL is for pages
        answer = browser.get(path, params=params)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "token_needed")
        assert token not in answer.text


def test_the_form_leads_to_the_page_that_was_asked_for(browser: TestClient, token: str) -> None:
    answer = browser.post("/login", data={"token": f" {token}\n", "then": "/jobs/job-1?x=1"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/jobs/job-1?x=1")
    assert browser.get("/devices").status_code == 200


def test_a_wrong_token_in_the_form_is_told_and_the_way_is_kept(browser: TestClient) -> None:
    answer = browser.post("/login", data={"token": "wrong", "then": "/devices"})
    assert answer.status_code == 401
    assert "does not know that token" in answer.text
    assert 'value="/devices"' in answer.text
    assert browser.post("/login", data={}).status_code == 422


@pytest.mark.parametrize(
    "then", ["//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil.example", "javascript:alert(1)", ""]
)
def test_the_form_leads_nowhere_else(browser: TestClient, token: str, then: str) -> None:
    location = browser.post("/login", data={"token": token, "then": then}).headers["location"]
    assert re.match(r"/(?![/\\\t])", location + "x"), location


@pytest.mark.parametrize("path", ["//evil.example", "///evil.example/x", "/\\evil.example", "/%5Cevil.example"])
def test_a_token_in_the_url_leads_nowhere_else(browser: TestClient, token: str, path: str) -> None:
    answer = browser.get(f"http://localhost:8000{path}?token={token}")
    assert answer.status_code == 303
    assert re.match(r"/(?![/\\])", answer.headers["location"] + "x"), answer.headers["location"]


def test_a_programs_header_counts_before_a_cookie(browser: TestClient, token: str) -> None:
    browser.get("/", params={"token": token})
    assert browser.get("/v1/jobs", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert browser.get("/v1/jobs", headers={"Authorization": "Basic of-a-proxy"}).status_code == 200


def test_a_page_of_another_site_can_not_use_the_cookie(browser: TestClient, token: str) -> None:
    browser.get("/", params={"token": token})
    for headers in ({"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"origin": "http://evil"}):
        assert browser.get("/v1/jobs", headers=headers).status_code == 403
        assert browser.post("/v1/jobs", json={"model": "minilm-l6"}, headers=headers).status_code == 403
        assert browser.post("/login", data={"token": token}, headers=headers).status_code == 403


def test_a_signed_in_browser_that_may_only_look_is_told_so(browser: TestClient, token: str) -> None:
    owner = {"Authorization": f"Bearer {token}"}
    made = browser.post("/v1/tokens", json={"name": "guest", "scope": "read"}, headers=owner).json()
    browser.get("/", params={"token": made["token"]})
    assert browser.get("/").status_code == 200
    error = browser.post("/v1/jobs", json={"model": "minilm-l6"}).json()["error"]
    assert (error["code"], "tunesmith token new" in error["hint"]) == ("scope_missing", True)
    browser.delete("/v1/tokens/guest", headers=owner)
    assert browser.get("/").status_code == 401
