"""The way from a client to the app in this process, which breaks where a test says so."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from fastapi.testclient import TestClient

from tests.support.rest import owners_headers
from tuner.client.http import Client
from tuner.config import Settings


class Line(httpx.BaseTransport):
    """The way to a service: breaks where a test says so, after or before what was sent has arrived."""

    def __init__(self, service: TestClient) -> None:
        self.requests: list[str] = []
        self.breaks: Callable[[int, httpx.Request], str] = lambda _number, _request: ""
        self._service = service

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request.method)
        broken = self.breaks(len(self.requests), request)
        if broken == "before":
            raise httpx.ConnectError("no way")
        url, headers = str(request.url), dict(request.headers)
        answer = self._service.request(request.method, url, headers=headers, content=request.content)
        if broken == "after":
            raise httpx.ReadError("no answer")
        return httpx.Response(answer.status_code, headers=dict(answer.headers), content=answer.content)


def client_over(line: Line, settings: Settings) -> Client:
    """A client of the service's owner."""
    token = owners_headers(settings)["Authorization"].removeprefix("Bearer ")
    return Client("http://localhost", token, transport=line)
