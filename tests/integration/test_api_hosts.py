"""A page that lets its own name mean this machine gets nothing; the service's own names lead to it."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from api.app import create_app
from tuner.config import Settings

LOOPBACK = ["127.0.0.1", "127.0.0.1:8000", "localhost:8000", "LOCALHOST", "127.1.2.3", "[::1]", "[::1]:8000"]
FOREIGN = ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "192.0.2.1:8000"]
FOREIGN += ["", "[::1", "0.0.0.0:8000"]


@pytest.fixture
def status(engine: Engine, settings: Settings) -> Any:
    """What a host is answered, for the given settings."""

    def ask(name: str, **changes: str) -> int:
        app = create_app(settings.model_copy(update=changes))
        with TestClient(app) as client:
            return client.get("/healthz", headers={"host": name}).status_code

    return ask


@pytest.mark.parametrize("host", LOOPBACK)
@pytest.mark.parametrize("bound", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_loopback_is_always_ours(status: Any, bound: str, host: str) -> None:
    assert status(host, host=bound) == 200
    assert status(host, host=bound, allowed_hosts="lab.example") == 200


@pytest.mark.parametrize("host", FOREIGN)
def test_on_loopback_no_other_name_is(status: Any, host: str) -> None:
    assert status(host) == 421
    assert status(host, host="localhost", allowed_hosts="lab.example") == 421


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/v1/records/export"), ("POST", "/v1/jobs")])
def test_whatever_is_asked_the_answer_is_an_error_with_a_way_out(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, path, headers={"host": "evil.example:8000", "sec-fetch-site": "same-origin"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (421, "host_unknown")
    assert "'evil.example:8000'" in error["message"]
    assert "TUNER_ALLOWED_HOSTS" in error["hint"]


def test_beyond_loopback_every_name_is_ours_until_some_are_named(status: Any) -> None:
    assert status("lab.example:8000", host="0.0.0.0") == 200
    named = {"host": "10.0.0.5", "allowed_hosts": "lab.example, Tunes.Example"}
    assert [status(host, **named) for host in ("tunes.example", "lab.example:8000", "10.0.0.5:8000")] == [200] * 3
    assert status("evil.example", **named) == 421
