"""Refuses what was sent to a name that is not this service's.

A page can let its own name mean 127.0.0.1 (DNS rebinding). To the browser the service is then that page's own site, so
that nothing of what ``cross_site`` looks at betrays it: the page could read and change all. The name it used is left.
Starlette's middleware for this answers in plain text and takes "[::1]:8000" for a host named "[".
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api import errors
from rpc.loopback import is_loopback
from tuner.config import Settings
from tuner.errors import HostUnknown


class RefuseOtherHosts:
    """ASGI middleware: requests must be to loopback, to the address that is listened on, or to a name in the settings.

    Beyond loopback nobody knows which names lead here; there all are taken unless the settings say which.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        allowed = {name.strip().lower() for name in settings.allowed_hosts.split(",")} - {""}
        self._names = {settings.host.lower(), *allowed}
        self._takes_all = not allowed and not is_loopback(settings.host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        app = self._app
        if scope["type"] == "http" and not self._is_ours(Headers(scope=scope).get("host")):
            app = errors.answer(
                HostUnknown(
                    f"This service is not known as {Headers(scope=scope)['host']!r}.",
                    "Use http://127.0.0.1 with its port, or name the host in TUNER_ALLOWED_HOSTS.",
                )
            )
        await app(scope, receive, send)

    def _is_ours(self, host: str | None) -> bool:
        if host is None or self._takes_all:  # every browser names the host
            return True
        name = name_of(host)
        return is_loopback(name) or name in self._names


def name_of(host: str) -> str:
    """The name or address of a Host header, without its port; empty when it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
