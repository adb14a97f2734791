"""What is sent again, and what is not: nothing may be done twice, and no refusal is asked for again."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.support.samples import job
from tuner.client.aio import AsyncClient
from tuner.client.http import Client
from tuner.client.retries import TRIES
from tuner.errors import Busy, NotFound, ServiceUnreachable
from tuner.schemas import JobIn

Answer = tuple[int, dict[str, Any]] | httpx.TransportError
OURS: Answer = (200, job().model_dump(mode="json"))
BUSY: Answer = (503, {"error": Busy("Too many.").as_dict()})
GONE: Answer = (404, {"error": NotFound("Gone.").as_dict()})
BROKEN, UNREACHED = httpx.ReadError("reset"), httpx.ConnectError("refused")


class Script:
    """Answers in order; the last again and again."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.sent: list[httpx.Request] = []
        self.pauses: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, httpx.TransportError):
            raise answer
        return httpx.Response(answer[0], json=answer[1])

    def client(self) -> Client:
        return Client("http://service.test", transport=httpx.MockTransport(self), sleep=self.pauses.append)


@pytest.mark.parametrize("failure", [BROKEN, UNREACHED, BUSY], ids=["broken", "unreached", "busy"])
def test_a_question_is_asked_again_after_growing_pauses(failure: Answer) -> None:
    service = Script(failure, failure, OURS)
    assert service.client().job("job-1").id == job().id
    assert len(service.pauses) == 2
    assert sorted(service.pauses) == service.pauses


def test_a_service_that_stays_away_is_given_up() -> None:
    service = Script(UNREACHED)
    with pytest.raises(ServiceUnreachable):
        service.client().job("job-1")
    assert len(service.sent) == TRIES


def test_a_job_is_submitted_again_under_the_same_key() -> None:
    service = Script(BROKEN, OURS)
    service.client().submit(JobIn(model="minilm-l6"))
    first, second = service.sent
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
    assert first.content == second.content


def test_what_may_have_been_done_is_not_sent_again() -> None:
    service = Script(BROKEN)
    for ask in (Client.cancel, Client.delete):
        with pytest.raises(ServiceUnreachable):
            ask(service.client(), "job-1")
    assert len(service.sent) == 2


def test_what_never_arrived_is_sent_again() -> None:
    service = Script(UNREACHED, OURS)
    service.client().cancel("job-1")
    assert len(service.sent) == 2


def test_a_refusal_is_final() -> None:
    service = Script(GONE)
    with pytest.raises(NotFound):
        service.client().job("job-1")
    assert len(service.sent) == 1


def test_an_event_loop_has_the_same_answers_and_errors() -> None:
    async def ask(*answers: Answer) -> str:
        transport = httpx.MockTransport(Script(*answers))
        async with AsyncClient("http://service.test", transport=transport) as client:
            return (await client.job("job-1")).id

    assert asyncio.run(ask(BROKEN, OURS)) == job().id
    with pytest.raises(NotFound, match="Gone"):
        asyncio.run(ask(GONE))
