"""Small questions to the parts of a running service, each answered within two seconds, unless more are given, and in a
millisecond or so of CPU time: some are asked every other second beside whatever is measured."""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from rpc import heartbeat, tracker
from tuner.config import Settings
from tuner.jobs.engine_probe import count_workers
from tuner.jobs.engine_tls import security
from tuner.jobs.readiness import PASS_MOST_SEC

_TIMEOUT_SEC = 2.0


def web_url(settings: Settings) -> str:
    """Where a browser on this machine finds the service; the port is decided by now."""
    everywhere = settings.host in ("0.0.0.0", "::")
    return f"http://{'127.0.0.1' if everywhere else settings.host}:{settings.port}"


def web_answers(url: str, timeout_sec: float = _TIMEOUT_SEC) -> bool:
    """Does the web process say that it is alive?"""
    where = urlsplit(url)
    # httpx makes a TLS context first
    connection = HTTPConnection(where.hostname or "", where.port, timeout=timeout_sec)
    try:
        connection.request("GET", "/healthz")
        return 200 <= connection.getresponse().status < 300
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def engine_answers(settings: Settings) -> bool:
    """Does the engine's scheduler answer? Whoever else listens in its place has not its certificate."""
    return _count_workers(settings) is not None


def engine_has_workers(settings: Settings) -> bool:
    """Does it, and does it have all its workers?"""
    return (_count_workers(settings) or 0) >= settings.engine_workers


def _count_workers(settings: Settings) -> int | None:
    return count_workers(str(settings.engine), security(settings), _TIMEOUT_SEC)


def coordinator_passes(settings: Settings) -> bool:
    """Has the coordinator finished a pass lately?"""
    beat = heartbeat.last(settings.heartbeat_file)
    return beat is not None and beat.age_sec < PASS_MOST_SEC


def tracker_answers(host: str, port: int) -> bool:
    """Does a tracker answer there?"""
    try:
        tracker.summary(host, port, _TIMEOUT_SEC)
    except OSError:
        return False
    return True
