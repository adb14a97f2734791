"""Refuses what was sent to a name that is not this service's.

A page can let its own name mean this machine (DNS rebinding). To the browser the service is then that page's own
site, so that nothing of what ``cross_site`` looks at betrays it: the page could read and change all. The name it used
is left. An address betrays nobody: whoever rebinds needs a name. Starlette's middleware for this answers in plain text
and takes "[::1]:8000" for a host named "[".
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api import errors
from tuner.config import Settings
from tuner.errors import HostUnknown


class RefuseOtherHosts:
    """ASGI middleware: requests must be to an address, to this machine's own name, or to one that the settings name.

    It makes no difference where the service listens: a published port of a container leads here from loopback too.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        allowed = {name.strip().lower() for name in settings.allowed_hosts.split(",")} - {""}
        self._names = {"localhost", socket.gethostname().lower(), settings.host.lower(), *allowed}

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
        if host is None:  # every browser names the host
            return True
        name = name_of(host)
        return name in self._names or is_address(name)


def name_of(host: str) -> str:
    """The name or address of a Host header, without its port; empty when it is none."""
    try:
        parts = urlsplit(f"//{host}")
        return (parts.hostname or "") if parts.port != 0 else ""
    except ValueError:  # of the port too
        return ""


def is_address(name: str) -> bool:
    """Is it an IP address, and so no name that anybody could let lead here?"""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
