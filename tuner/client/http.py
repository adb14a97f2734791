"""The service over REST, typed: answers are models of ``tuner.schemas``, refusals the ``TunerError`` they were."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tuner.client import calls, events, retries
from tuner.client.addresses import http_options, page_url
from tuner.client.answers import parsed, raise_refusal, reaching
from tuner.client.calls import Call
from tuner.client.download import download, wanted
from tuner.errors import Busy, Conflict, ServiceUnreachable
from tuner.schemas import (
    ArtifactCheck,
    ArtifactOut,
    BenchmarkOut,
    CandidateOut,
    DeviceCheckOut,
    DeviceOut,
    EventOut,
    FailureOut,
    Health,
    HistoryPoint,
    ImportOut,
    JobIn,
    JobOut,
    JobsCompared,
    JobWorkloadOut,
    KernelOut,
    ModelIn,
    ModelOut,
    OperatorIn,
    Page,
    RecordOut,
    RecordsChanged,
    TargetOut,
    TokenIn,
    TokenNew,
    TokenOut,
)

T = TypeVar("T")


class Client:
    """One service at ``url``, which asks for a ``token``. Safe to share between threads; use as a context manager or
    call ``close``.

    Raises InvalidInput when ``url`` is none. Every method raises the ``TunerError`` the service answered with,
    ``ServiceUnreachable``, or ``NotFound`` for an empty id. What can be sent again is, twice, before it fails.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        transport: httpx.BaseTransport | None = None,
        timeout_sec: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._http = httpx.Client(transport=transport, **http_options(self.url, token, timeout_sec))
        self._sleep = sleep

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drops the connections."""
        self._http.close()

    def page_url(self, path: str = "/") -> str:
        """A page of the dashboard, with what lets a browser in: for the eyes of the service's user alone."""
        return page_url(self.url, self._token, path)

    def health(self) -> Health:
        """Readiness with its checks; a service that is up but not ready answers too."""
        return self.ask_once(calls.health())

    def service_id(self) -> str:
        """Whose service it is; empty of an earlier release's."""
        return self.ask_once(calls.liveness()).id

    def submit(self, wish: JobIn) -> JobOut:
        """Submits a job; should the answer get lost, once more under the same key, so that it is one."""
        return self.ask(calls.submit(wish))

    def jobs(
        self, state: str | None = None, model: str | None = None, limit: int = 50, offset: int = 0
    ) -> Page[JobOut]:
        """Jobs, the newest first."""
        return self.ask(calls.jobs(state, model, limit, offset))

    def job(self, job_id: str) -> JobOut:
        """One job."""
        return self.ask(calls.job(job_id))

    def follow(self, job_id: str) -> Iterator[EventOut]:
        """What happens to a job, from its first event to the one that says it ended; survives restarts of the service.

        Raises ``ServiceUnreachable`` after a minute without an answer.
        """
        return events.follow(self, job_id)

    def progress(self, job_id: str) -> Iterator[JobOut]:
        """The job now, then each time it changed, until it ended; survives restarts as ``follow`` does."""
        return events.progress(self, job_id)

    def workloads(self, job_id: str) -> list[JobWorkloadOut]:
        """The workloads of a job in the order the model first uses them."""
        return self.ask(calls.workloads(job_id))

    def kernel(self, job_id: str, workload_id: str) -> KernelOut:
        """What a kernel of a job is made again from."""
        return self.ask(calls.kernel(job_id, workload_id))

    def failures(self, job_id: str) -> list[FailureOut]:
        """What failed of a job's candidates, by kind."""
        return self.ask(calls.failures(job_id))

    def candidate(self, job_id: str, name: str) -> CandidateOut:
        """What a candidate of a job is made again from, and what became of it."""
        return self.ask(calls.candidate(job_id, name))

    def evidence(self, job_id: str) -> dict[str, Any]:
        """The manifest of a job's module as the job made and measured it; empty before it has one."""
        return self.ask(calls.evidence(job_id))

    def cancel(self, job_id: str) -> JobOut:
        """Asks for a job's end; it ends between two rounds."""
        return self.ask(calls.steer(job_id, "cancel"))

    def pause(self, job_id: str) -> JobOut:
        """Asks a tuning job to wait."""
        return self.ask(calls.steer(job_id, "pause"))

    def resume(self, job_id: str) -> JobOut:
        """Lets a paused job go on."""
        return self.ask(calls.steer(job_id, "resume"))

    def delete(self, job_id: str) -> None:
        """Deletes a job that has ended; its records stay."""
        self.ask(calls.delete_job(job_id))

    def compare(self, job_ids: Sequence[str]) -> JobsCompared:
        """Two to eight jobs that succeeded, side by side, and in what they may not be compared."""
        return self.ask(calls.compare(job_ids))

    def history(self, model: str, target: str | None = None, limit: int = 100) -> list[HistoryPoint]:
        """What jobs of a model came to, oldest first."""
        return self.ask(calls.history(model, target, limit))

    def benchmarks(self, job_id: str) -> list[BenchmarkOut]:
        """The variants of a job's comparison with PyTorch."""
        return self.ask(calls.benchmarks(job_id)).items

    def artifacts(self, job_id: str | None = None, limit: int = 50) -> Page[ArtifactOut]:
        """Artifacts, the newest first."""
        return self.ask(calls.artifacts(job_id, limit))

    def artifact(self, artifact_id: str) -> ArtifactOut:
        """One artifact with its manifest."""
        return self.ask(calls.artifact(artifact_id))

    def check_artifact(self, artifact_id: str, device: str) -> DeviceCheckOut:
        """Have a device of the fleet load and run it; ``artifact`` tells what came of that."""
        return self.ask(calls.check_artifact(artifact_id, device))

    def artifact_of(self, thing: str) -> ArtifactOut:
        """The artifact of that id, or the one the job of that id made. Raises Conflict when the job has none."""
        if not thing.startswith("job-"):
            return self.artifact(thing)
        job = self.job(thing)
        if job.artifact_id is None:
            raise Conflict(f"{job.id} has no artifact: it is {job.state}.", f"See why: tunesmith show {job.id}")
        return self.artifact(job.artifact_id)

    def download(
        self, thing: str, path: str | Path, form: str = "tar", progress: Callable[[int], None] = lambda done: None
    ) -> Path:
        """Writes the artifact of that id, or of the job of that id, to ``path`` (a folder: by its own name there).

        Goes on where an earlier try broke off, and checks the whole; ``progress`` hears the bytes there are so far.
        """
        file, path = wanted(self.artifact_of(thing), form), Path(path)
        return download(self, file, path / file.name if path.is_dir() else path, progress)

    def verify_artifact(self, artifact_id: str) -> ArtifactCheck:
        """Does the stored file still match its manifest?"""
        return self.ask(calls.verify_artifact(artifact_id))

    def models(self, limit: int = 100) -> Page[ModelOut]:
        """Models the service knows."""
        return self.ask(calls.models(limit))

    def add_model(self, model: ModelIn) -> ModelOut:
        """Adds a preset, a hub id or a folder on the service's machine."""
        return self.ask(calls.add_model(model))

    def add_operator(self, operator: OperatorIn) -> ModelOut:
        """Adds an operator of the user's own; its name is the model to submit."""
        return self.ask(calls.add_operator(operator))

    def targets(self) -> list[TargetOut]:
        """What can be tuned for."""
        return self.ask(calls.targets())

    def devices(self) -> list[DeviceOut]:
        """Devices as last seen."""
        return self.ask(calls.devices())

    def records(self, limit: int = 50, **filters: str | bool | None) -> Page[RecordOut]:
        """Records, by ``workload_id``, ``target_family``, ``job_id``, ``failed``."""
        return self.ask(calls.records(limit, **filters))

    def forget_records(self, failed: bool = False, **filters: str | None) -> RecordsChanged:
        """Deletes records, by ``workload_id``, ``target_family``, ``job_id``."""
        return self.ask(calls.forget_records(failed, **filters))

    def reopen_records(self, **filters: str | None) -> RecordsChanged:
        """Lets failed candidates be tried again, by ``workload_id``, ``target_family``, ``job_id``."""
        return self.ask(calls.reopen_records(**filters))

    def import_records(self, name: str, content: bytes) -> ImportOut:
        """Adds the records of a log; damaged lines are counted, the rest is kept."""
        return self.ask(calls.import_records(name, content))

    def tokens(self) -> list[TokenOut]:
        """Tokens that have names, without what they are."""
        return self.ask(calls.tokens())

    def add_token(self, wish: TokenIn) -> TokenNew:
        """Makes a token; the answer alone tells it."""
        return self.ask(calls.add_token(wish))

    def revoke_token(self, name: str) -> None:
        """Ends a token."""
        self.ask(calls.revoke_token(name))

    def ask(self, call: Call[T]) -> T:
        """One call, sent again where that is safe; raises what the service refused with."""
        tries = 1
        while True:
            try:
                return self.ask_once(call)
            except (ServiceUnreachable, Busy) as error:
                pause = retries.pause_sec(error, call.repeats, tries)
                if pause is None:
                    raise
            self._sleep(pause)
            tries += 1

    def ask_once(self, call: Call[T]) -> T:
        """One call, sent once."""
        with reaching(self.url):
            response = self._http.request(call.method, call.path, **call.options)
        if not call.of_refusals:
            raise_refusal(response)
        return parsed(response, call.parse)

    @contextmanager
    def stream(self, path: str, read_timeout_sec: float = 60.0, **options: Any) -> Iterator[httpx.Response]:
        """A body that is read as it comes; a break of the connection raises ``ServiceUnreachable`` too."""
        timeout = httpx.Timeout(30.0, read=read_timeout_sec)
        with reaching(self.url), self._http.stream("GET", path, timeout=timeout, **options) as response:
            if response.is_error:
                response.read()
            raise_refusal(response)
            yield response
