"""The client for an event loop: the same calls, answers and errors as ``Client``'s, awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import httpx
from anyio.to_thread import run_sync

from tuner.client import calls, events, retries
from tuner.client.addresses import http_options
from tuner.client.answers import parsed, raise_refusal, reaching
from tuner.client.calls import Call
from tuner.client.http import Client
from tuner.errors import Busy, ServiceUnreachable
from tuner.schemas import (
    ArtifactOut,
    BenchmarkOut,
    CandidateOut,
    EventOut,
    FailureOut,
    Health,
    HistoryPoint,
    JobIn,
    JobOut,
    JobsCompared,
    JobWorkloadOut,
    KernelOut,
    Page,
    RecordOut,
)

T = TypeVar("T")


class AsyncClient:
    """One service at ``url``, which asks for a ``token``; use as an async context manager or await ``close``.

    Raises what ``Client`` raises.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout_sec: float = 30.0,
        blocking: Callable[[], Client] | None = None,
    ) -> None:
        """``blocking`` makes the client of the thread that a download runs on."""
        self.url = url.rstrip("/")
        self._blocking = blocking or partial(Client, self.url, token)
        self._http = httpx.AsyncClient(transport=transport, **http_options(self.url, token, timeout_sec))

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Drops the connections."""
        await self._http.aclose()

    async def health(self) -> Health:
        """Readiness with its checks; a service that is up but not ready answers too."""
        return await self.ask_once(calls.health())

    async def submit(self, wish: JobIn) -> JobOut:
        """Submits a job, once, however often it has to be sent."""
        return await self.ask(calls.submit(wish))

    async def jobs(
        self, state: str | None = None, model: str | None = None, limit: int = 50, offset: int = 0
    ) -> Page[JobOut]:
        """Jobs, the newest first."""
        return await self.ask(calls.jobs(state, model, limit, offset))

    async def job(self, job_id: str) -> JobOut:
        """One job."""
        return await self.ask(calls.job(job_id))

    def follow(self, job_id: str) -> AsyncIterator[EventOut]:
        """What happens to a job, from its first event to the one that says it ended, as ``Client.follow`` tells."""
        return events.follow_async(self, job_id)

    async def workloads(self, job_id: str) -> list[JobWorkloadOut]:
        """The workloads of a job in the order the model first uses them."""
        return await self.ask(calls.workloads(job_id))

    async def failures(self, job_id: str) -> list[FailureOut]:
        """What failed of a job's candidates, by kind."""
        return await self.ask(calls.failures(job_id))

    async def candidate(self, job_id: str, name: str) -> CandidateOut:
        """What a candidate of a job is made again from, and what became of it."""
        return await self.ask(calls.candidate(job_id, name))

    async def kernel(self, job_id: str, workload_id: str) -> KernelOut:
        """What a kernel of a job is made again from."""
        return await self.ask(calls.kernel(job_id, workload_id))

    async def cancel(self, job_id: str) -> JobOut:
        """Asks for a job's end; it ends between two rounds."""
        return await self.ask(calls.steer(job_id, "cancel"))

    async def pause(self, job_id: str) -> JobOut:
        """Asks a tuning job to wait."""
        return await self.ask(calls.steer(job_id, "pause"))

    async def resume(self, job_id: str) -> JobOut:
        """Lets a paused job go on."""
        return await self.ask(calls.steer(job_id, "resume"))

    async def delete(self, job_id: str) -> None:
        """Deletes a job that has ended; its records stay."""
        await self.ask(calls.delete_job(job_id))

    async def compare(self, job_ids: Sequence[str]) -> JobsCompared:
        """Two to eight jobs that succeeded, side by side, and in what they may not be compared."""
        return await self.ask(calls.compare(job_ids))

    async def history(self, model: str, target: str | None = None, limit: int = 100) -> list[HistoryPoint]:
        """What jobs of a model came to, oldest first."""
        return await self.ask(calls.history(model, target, limit))

    async def benchmarks(self, job_id: str) -> list[BenchmarkOut]:
        """The variants of a job's comparison with PyTorch."""
        return (await self.ask(calls.benchmarks(job_id))).items

    async def artifact(self, artifact_id: str) -> ArtifactOut:
        """One artifact with its manifest."""
        return await self.ask(calls.artifact(artifact_id))

    async def artifacts(self, job_id: str | None = None, limit: int = 50) -> Page[ArtifactOut]:
        """Artifacts, the newest first."""
        return await self.ask(calls.artifacts(job_id, limit))

    async def records(self, limit: int = 50, **filters: str | bool | None) -> Page[RecordOut]:
        """Records, by ``workload_id``, ``target_family``, ``job_id``, ``failed``."""
        return await self.ask(calls.records(limit, **filters))

    async def download(self, thing: str, path: str | Path, form: str = "tar") -> Path:
        """Writes the artifact of that id, or of the job of that id, to ``path``, by a thread of its own; when awaiting
        it is cancelled it ends at the next block, and the next try goes on there."""
        left = False

        def go_on(done: int) -> None:
            if left:
                raise ServiceUnreachable(f"The download of {thing} was left off.")

        def fetch() -> Path:
            with self._blocking() as client:
                return client.download(thing, path, form, go_on)

        try:
            return await run_sync(fetch, abandon_on_cancel=True)
        finally:
            left = True

    async def ask(self, call: Call[T]) -> T:
        """One call, sent again where that is safe; raises what the service refused with."""
        tries = 1
        while True:
            try:
                return await self.ask_once(call)
            except (ServiceUnreachable, Busy) as error:
                pause = retries.pause_sec(error, call.repeats, tries)
                if pause is None:
                    raise
            await anyio.sleep(pause)
            tries += 1

    async def ask_once(self, call: Call[T]) -> T:
        """One call, sent once."""
        with reaching(self.url):
            response = await self._http.request(call.method, call.path, **call.options)
        if not call.of_refusals:
            raise_refusal(response)
        return parsed(response, call.parse)

    @asynccontextmanager
    async def stream(self, path: str, read_timeout_sec: float = 60.0, **options: Any) -> AsyncIterator[httpx.Response]:
        """A body that is read as it comes; a break of the connection raises ``ServiceUnreachable`` too."""
        timeout = httpx.Timeout(30.0, read=read_timeout_sec)
        with reaching(self.url):
            async with self._http.stream("GET", path, timeout=timeout, **options) as response:
                if response.is_error:
                    await response.aread()
                raise_refusal(response)
                yield response
