"""Refusals come back as the errors they were; a stranger's answer is told apart from ours."""

from __future__ import annotations

import math
from collections.abc import Callable

import httpx
import pytest

from tuner.client.addresses import is_loopback
from tuner.client.http import Client
from tuner.errors import BudgetInvalid, InvalidInput, NotFound, ServiceUnreachable, TunerError, all_error_classes
from tuner.schemas import BudgetIn, JobIn


def client_of(response: httpx.Response) -> Client:
    return Client(
        "http://service.test/", transport=httpx.MockTransport(lambda request: response), sleep=lambda sec: None
    )


def refused(status: int, code: str) -> tuple[Client, list[httpx.Request]]:
    """A client whose every request is refused, and what it sends."""
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(status, json={"error": {"code": code, "message": "No."}})

    return Client("http://service.test", transport=httpx.MockTransport(answer)), sent


@pytest.mark.parametrize("cls", all_error_classes(), ids=lambda cls: cls.code)
def test_every_error_of_the_tree_comes_back_as_itself(cls: type[TunerError]) -> None:
    body = {"error": cls("What happened.", "What to do.").as_dict()}
    with pytest.raises(TunerError) as caught:
        client_of(httpx.Response(cls.status, json=body)).job("job-1")
    assert type(caught.value) is cls
    assert (caught.value.message, caught.value.hint) == ("What happened.", "What to do.")


def test_code_of_a_newer_service_is_a_plain_error() -> None:
    body = {"error": {"code": "from_the_future", "message": "New."}}
    with pytest.raises(TunerError, match="New"):
        client_of(httpx.Response(400, json=body)).job("job-1")


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(502, text="<html>"),
        httpx.Response(404, json={"detail": "no"}),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json={"id": 1}),
        httpx.Response(302, headers={"Location": "/login"}),
    ],
    ids=["refusal", "other-refusal", "page", "other-json", "redirect"],
)
@pytest.mark.parametrize(
    "ask",
    [lambda client: client.job("job-1"), Client.jobs, Client.devices, lambda client: client.benchmarks("job-1")],
    ids=["one", "page", "list", "items"],
)
def test_answer_of_another_server_is_called_that(response: httpx.Response, ask: Callable[[Client], object]) -> None:
    with pytest.raises(ServiceUnreachable, match="not TuneSmith's"):
        ask(client_of(response))


def test_page_in_place_of_readiness_is_another_servers() -> None:
    with pytest.raises(ServiceUnreachable, match="not TuneSmith's"):
        client_of(httpx.Response(200, text="<html>")).health()


def test_an_id_leads_nowhere_else() -> None:
    client, sent = refused(404, "not_found")
    for job_id in ("../models", ""):
        with pytest.raises(NotFound):
            client.delete(job_id)
    paths = [request.url.raw_path for request in sent]
    assert paths == [b"/v1/jobs/..%2Fmodels"]  # nothing was sent for the empty one: it would name all jobs


def test_no_service_names_the_address_and_the_command() -> None:
    with pytest.raises(ServiceUnreachable, match=r"http://127\.0\.0\.1:1 ") as caught:
        Client("http://127.0.0.1:1").jobs()
    assert "tunesmith serve" in caught.value.hint


@pytest.mark.parametrize("url", ["http://[::1", "http://127.0.0.1:eighty"])
def test_what_is_no_address_is_refused_by_name(url: str) -> None:
    with pytest.raises(InvalidInput, match="no address of a service") as caught:
        Client(url)
    assert url in caught.value.message


def test_what_was_not_given_is_not_sent() -> None:
    client, sent = refused(409, "conflict")
    with pytest.raises(TunerError):
        client.submit(JobIn(model="minilm-l6", budget=BudgetIn(trials=64)))
    assert b'"budget": {"trials": 64}' in sent[0].content


def test_a_budget_that_is_no_number_is_refused_by_the_service() -> None:
    client, sent = refused(422, "budget_invalid")
    with pytest.raises(BudgetInvalid):
        client.submit(JobIn(model="minilm-l6", budget=BudgetIn(minutes=math.nan)))
    assert b"NaN" in sent[0].content


@pytest.mark.parametrize(
    ("url", "loopback"),
    [("http://127.0.0.1:8000", True), ("http://[::1]:1", True), ("http://localhost", True), ("http://10.0.0.5", False)],
)
def test_loopback_is_told_from_the_rest(url: str, loopback: bool) -> None:
    assert is_loopback(url) is loopback
