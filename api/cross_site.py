"""Refuses what a page of another site makes a browser send.

Browsers say where a request comes from, in headers that no page can change; other clients send none of them and go on
as before. Reading is refused as well: the page could not see the answer, but its making would disturb what is measured.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api import errors
from tuner.errors import CrossSite

_READING = ("GET", "HEAD")
_OWN = ("same-origin", "none")  # a page of ours, or the user's own doing


class RefuseCrossSite:
    """ASGI middleware: whatever is asked must come from our own pages or from no page; links may lead to our pages."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        app = self._app
        if scope["type"] == "http" and is_foreign(Headers(scope=scope)) and not _follows_a_link(scope):
            app = errors.answer(
                CrossSite(
                    f"A page of another site asked for {scope['method']} {scope['path']}.",
                    "Use the service's own dashboard, the command line, or a client that is no web page.",
                )
            )
        await app(scope, receive, send)


def is_foreign(headers: Headers) -> bool:
    """Does a browser say that a page of another origin sends this?

    ``Sec-Fetch-Site`` decides where there is one; browsers leave it out on plain HTTP beyond loopback, ``Origin`` not.
    """
    if (site := headers.get("sec-fetch-site")) is not None:
        return site not in _OWN
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower()


def _follows_a_link(scope: Scope) -> bool:
    """Does a whole browser tab go to one of our pages? All of REST is heavier than a page, and nobody links to it."""
    headers = Headers(scope=scope)
    to_a_tab = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return scope["method"] in _READING and to_a_tab and not scope["path"].startswith("/v1/")
