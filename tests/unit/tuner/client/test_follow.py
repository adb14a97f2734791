"""Following a job: through its end, through a broken stream, and giving up."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timezone
from typing import Any

import httpx
import pytest

from tests.support.fake_service import FakeService
from tests.support.samples import finished_job, job
from tuner.client.events import GIVE_UP_SEC, ServerEvent, follow, parse_events, progress
from tuner.client.http import Client
from tuner.errors import NotFound, ServiceUnreachable
from tuner.schemas import EventOut


class Clock:
    """Time that passes only while someone sleeps, and a little at each look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def followed(service: FakeService) -> list[str]:
    clock = Clock()
    return [job.state for job in progress(service.client(), "job-1", clock, clock.sleep)]


def event(number: int, kind: str = "state") -> str:
    return f'id: {number}\nevent: {kind}\ndata: {{"n": {number}}}\n\n'


def test_events_are_parsed_with_their_heartbeats() -> None:
    lines = [": ping", "", "id: 7", "event: round", 'data: {"a":', "data: 1}", "", "data: {}", ""]
    assert list(parse_events(lines)) == [
        ServerEvent(),
        ServerEvent("round", "7", {"a": 1}),
        ServerEvent("message", "7"),
    ]


def test_job_is_followed_to_its_end_by_events() -> None:
    service = FakeService([job(state="importing"), job(), finished_job()], [event(1) + event(2) + event(3)])
    assert followed(service) == ["importing", "tuning", "succeeded"]
    assert len(service.asked("/v1/events")) == 1


def test_finished_job_needs_no_stream() -> None:
    service = FakeService([finished_job()])
    assert followed(service) == ["succeeded"]
    assert not service.asked("/v1/events")


def test_broken_stream_goes_on_after_the_last_event() -> None:
    service = FakeService([job(), job(trials=330), job(trials=340), finished_job()], [event(41), event(42)])
    assert followed(service)[-1] == "succeeded"
    first, second = service.asked("/v1/events")
    assert "Last-Event-ID" not in first.headers
    assert second.headers["Last-Event-ID"] == "41"


def test_stream_that_never_opens_falls_back_to_polling() -> None:
    service = FakeService([job(), job(), job(), finished_job()], streams=[])
    assert followed(service) == ["tuning", "tuning", "tuning", "succeeded"]


def test_service_that_stays_away_is_given_up() -> None:
    service = FakeService([job()])
    clock = Clock()
    jobs = progress(service.client(), "job-1", clock, clock.sleep)
    next(jobs)
    service.down = True
    with pytest.raises(ServiceUnreachable):
        list(jobs)
    assert clock.now > GIVE_UP_SEC


def test_unknown_job_is_told_at_once() -> None:
    with pytest.raises(NotFound, match="no /v1/jobs/job-2"):
        next(progress(FakeService([job()]).client(), "job-2"))


def told(number: int, kind: str, **data: Any) -> str:
    """An event as the service sends it."""
    event = EventOut(id=number, job_id="job-1", kind=kind, data=data, created_at=datetime.now(timezone.utc))
    return f"id: {number}\nevent: {kind}\ndata: {json.dumps(event.model_dump(mode='json'))}\n\n"


def eventful() -> FakeService:
    """A service whose stream breaks once, in the middle of a job."""
    last = told(3, "artifact", artifact_id="art-1") + told(4, "state", state="succeeded")
    return FakeService([job()], [told(1, "state", state="tuning") + ": ping\n\n" + told(2, "round", trials=8), last])


def test_events_are_followed_over_a_break_to_the_one_that_ends_the_job() -> None:
    service, clock = eventful(), Clock()
    events = list(follow(service.client(), "job-1", clock, clock.sleep))
    assert [(event.id, event.kind) for event in events] == [(1, "state"), (2, "round"), (3, "artifact"), (4, "state")]
    assert events[1].data == {"trials": 8}
    assert [r.headers.get("Last-Event-ID") for r in service.asked("/v1/events")] == [None, "2"]


def test_events_are_followed_on_an_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.client.events.RETRY_SEC", 0.0)
    service = eventful()

    async def listen() -> list[int]:
        async with service.async_client() as client:
            return [event.id async for event in client.follow("job-1")]

    assert asyncio.run(listen()) == [1, 2, 3, 4]


def test_events_of_a_job_that_is_not_there_are_refused() -> None:
    with pytest.raises(NotFound):
        list(follow(FakeService([job()]).client(), "job-2"))


def test_a_job_whose_events_are_gone_is_followed_to_its_end_at_once() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/events":
            raise httpx.ReadTimeout("nothing came")
        return httpx.Response(200, json=finished_job().model_dump(mode="json"))

    client = Client("http://service.test", transport=httpx.MockTransport(answer))
    assert list(follow(client, "job-1", Clock())) == []
