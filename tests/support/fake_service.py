"""The service as a client sees it, played from a script: a job's states, an event stream, a file that breaks off."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator

import httpx

from tests.support.samples import artifact
from tuner.client.aio import AsyncClient
from tuner.client.http import Client
from tuner.schemas import JobOut


class _Breaking(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body whose connection breaks after these parts."""

    def __init__(self, parts: list[bytes]) -> None:
        self.parts = parts

    def __iter__(self) -> Iterator[bytes]:
        yield from self.parts
        self._break()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            yield part
        self._break()

    def _break(self) -> None:
        raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")


class FakeService:
    """Answers like the service for one job and one artifact.

    ``states``: what each GET of the job shows, the last one again and again. ``streams``: what each connection to
    the event stream sends before it breaks; none left: the service is down. ``breaks``: after how many bytes each
    download breaks off; none left: it goes through.
    """

    def __init__(self, states: list[JobOut], streams: list[str] | None = None, content: bytes = b"") -> None:
        self.states = states
        self.streams = streams or []
        self.content = content
        self.breaks: list[int] = []
        self.down = False
        self.requests: list[httpx.Request] = []

    def client(self) -> Client:
        """A client that speaks to this service."""
        return Client("http://service.test", transport=httpx.MockTransport(self._answer), sleep=lambda seconds: None)

    def async_client(self) -> AsyncClient:
        """The same for an event loop."""
        transport = httpx.MockTransport(self._answer)
        return AsyncClient("http://service.test", transport=transport, blocking=self.client)

    def asked(self, path: str) -> list[httpx.Request]:
        """The requests that came for a path."""
        return [request for request in self.requests if request.url.path == path]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        path = request.url.path
        if self.down:
            raise httpx.ConnectError("connection refused")
        if path == "/v1/jobs/job-1":
            job = self.states.pop(0) if len(self.states) > 1 else self.states[0]
            return httpx.Response(200, json=job.model_dump(mode="json"))
        if path == "/v1/events":
            if not self.streams:
                raise httpx.ConnectError("connection refused")
            return httpx.Response(200, stream=_Breaking([self.streams.pop(0).encode()]))
        if path == "/v1/artifacts/art-1":
            made = artifact(self.content, hashlib.sha256(self.content).hexdigest())
            return httpx.Response(200, json=made.model_dump(mode="json"))
        if path == "/v1/artifacts/art-1/download":
            return self._download(request)
        error = {"code": "not_found", "message": f"There is no {path}.", "hint": "Look: tunesmith jobs"}
        return httpx.Response(404, json={"error": error})

    def _download(self, request: httpx.Request) -> httpx.Response:
        etag = f'"{hashlib.sha256(self.content).hexdigest()}"'
        wanted = request.headers.get("Range")
        start = 0
        if wanted and request.headers.get("If-Range") == etag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        body = self.content[start:]
        headers = {"ETag": etag, "Content-Length": str(len(body))}
        status = 206 if start else 200
        if self.breaks:
            return httpx.Response(status, headers=headers, stream=_Breaking([body[: self.breaks.pop(0)]]))
        return httpx.Response(status, headers=headers, content=body)
