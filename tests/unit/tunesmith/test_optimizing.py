"""``tunesmith.optimize`` around its job: what is refused, what Ctrl-C and a failure come to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.samples import job
from tuner.client.http import Client
from tuner.errors import InvalidInput, SequenceTooLong, StageFailed
from tuner.schemas import ErrorBody, JobIn, JobOut
from tunesmith.optimizing import optimize


class Service(Client):
    """A service on another machine, whose one job goes as it is told."""

    def __init__(self, ends: BaseException | JobOut) -> None:
        super().__init__("http://10.0.0.5:8000")
        self.ends = ends
        self.wishes: list[JobIn] = []
        self.cancelled: list[str] = []

    def submit(self, wish: JobIn) -> JobOut:
        self.wishes.append(wish)
        return job()

    def progress(self, job_id: str) -> Iterator[JobOut]:
        yield job()
        if isinstance(self.ends, BaseException):
            raise self.ends
        yield self.ends

    def cancel(self, job_id: str) -> JobOut:
        self.cancelled.append(job_id)
        return job()


def test_an_interrupt_ends_the_job_and_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    with Service(KeyboardInterrupt()) as service, pytest.raises(KeyboardInterrupt):
        optimize("minilm-l6", service=service, budget=8, precision="int8", against="torch, onnxruntime")
    assert service.cancelled == [job().id]
    assert (service.wishes[0].budget.trials, service.wishes[0].precision) == (8, "int8")
    assert service.wishes[0].against == ["torch", "onnxruntime"]
    assert "what was measured is kept" in capfd.readouterr().err


def test_a_job_that_failed_raises_what_it_failed_with() -> None:
    error = ErrorBody(code="sequence_too_long", message="Too long.", hint="Shorter.")
    failed = job(state="failed", error=error)
    with Service(failed) as service, pytest.raises(SequenceTooLong, match="Too long") as caught:
        optimize("minilm-l6", service=service)
    assert caught.value.hint == "Shorter."


def test_a_service_that_can_not_see_a_folder_is_sent_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    monkeypatch.setattr(
        "tunesmith.optimizing.seen_there",
        lambda client, model, allow_pickle: sent.append(model) or "upload:mine",
    )
    with Service(job(state="cancelled")) as service, pytest.raises(StageFailed):
        optimize(tmp_path, service=service)
    assert (sent, service.wishes[0].model) == ([str(tmp_path)], "upload:mine")


@pytest.mark.parametrize("asked", [{"precision": "fp8"}, {"target": "m1-metal"}])
def test_what_no_module_here_can_be_is_refused_before_anything_starts(asked: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(asked.values()))):
        optimize("minilm-l6", **asked)  # type: ignore[arg-type]
