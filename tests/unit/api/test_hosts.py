"""A page that lets its own name mean this machine gets nothing; the service's own names lead to it."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from fastapi.responses import PlainTextResponse
from fastapi.testclient import TestClient

from api.hosts import RefuseOtherHosts
from tuner.config import Settings

ADDRESSES = ["127.0.0.1", "127.0.0.1:8000", "127.1.2.3", "[::1]", "[::1]:8000", "192.0.2.1:8000", "[2001:db8::5]"]
OWN = [*ADDRESSES, "localhost:8000", "LOCALHOST", socket.gethostname(), f"{socket.gethostname().upper()}:8000"]
FOREIGN = ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "127.1", "0x7f.1"]
FOREIGN += ["", "[::1", "evil.example@127.0.0.1.evil.example", "a.localhost"]
BOUND = ["127.0.0.1", "localhost", "0.0.0.0", "10.0.0.5"]


def client_of(**changes: Any) -> TestClient:
    """Talks to a service with these settings that takes whatever is sent to one of its names."""
    return TestClient(RefuseOtherHosts(PlainTextResponse("ours"), Settings(**changes)))


def status(name: str, /, **changes: Any) -> int:
    """What is answered to a request for a host of that name."""
    return client_of(**changes).get("/", headers={"host": name}).status_code


@pytest.mark.parametrize("host", OWN)
@pytest.mark.parametrize("bound", BOUND)
def test_an_address_and_this_machines_own_names_are_ours(bound: str, host: str) -> None:
    assert status(host, host=bound) == 200
    assert status(host, host=bound, allowed_hosts="lab.example") == 200


@pytest.mark.parametrize("host", FOREIGN)
@pytest.mark.parametrize("bound", BOUND)
def test_no_other_name_is_wherever_it_listens(bound: str, host: str) -> None:
    assert status(host, host=bound) == 421
    assert status(host, host=bound, allowed_hosts="lab.example") == 421


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/v1/records/export"), ("POST", "/v1/jobs")])
def test_whatever_is_asked_the_answer_is_an_error_with_a_way_out(method: str, path: str) -> None:
    answer = client_of().request(method, path, headers={"host": "evil.example:8000", "sec-fetch-site": "same-origin"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (421, "host_unknown")
    assert "'evil.example:8000'" in error["message"]
    assert "TUNER_ALLOWED_HOSTS" in error["hint"]


def test_names_in_the_settings_lead_here() -> None:
    named = {"host": "10.0.0.5", "allowed_hosts": "lab.example, Tunes.Example"}
    assert [status(host, **named) for host in ("tunes.example", "lab.example:8000", "10.0.0.5:8000")] == [200] * 3
    assert status("lab.example", host="tunesmith.example") == 421
    assert status("tunesmith.example", host="tunesmith.example") == 200
