"""Small questions to the parts of a running service, each answered within two seconds."""

from __future__ import annotations

import socket

import httpx

from rpc import tracker
from tuner.config import Settings

_TIMEOUT_SEC = 2.0


def web_url(settings: Settings) -> str:
    """Where a browser on this machine finds the service; the port is decided by now."""
    everywhere = settings.host in ("0.0.0.0", "::")
    return f"http://{'127.0.0.1' if everywhere else settings.host}:{settings.port}"


def web_answers(url: str) -> bool:
    """Does the web process say that it is alive?"""
    try:
        return httpx.get(f"{url}/healthz", timeout=_TIMEOUT_SEC, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def port_answers(host: str, port: int) -> bool:
    """Does somebody accept connections there?"""
    try:
        socket.create_connection((host, port), timeout=_TIMEOUT_SEC).close()
    except OSError:
        return False
    return True


def tracker_answers(host: str, port: int) -> bool:
    """Does a tracker answer there?"""
    return _summary(host, port) is not None


def device_is_registered(host: str, port: int, key: str) -> bool | None:
    """Does the tracker know a device with this key, busy or free? None when the tracker itself can't say."""
    summary = _summary(host, port)
    return None if summary is None else tracker.count_registered(summary, key) > 0


def _summary(host: str, port: int) -> tracker.Summary | None:
    try:
        return tracker.summary(host, port, _TIMEOUT_SEC)
    except OSError:
        return None
