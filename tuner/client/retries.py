"""When a request that failed is sent once more, and how long after. Pure."""

from __future__ import annotations

import httpx

from tuner.errors import Busy, ServiceUnreachable, TunerError

TRIES = 3
_FIRST_PAUSE_SEC = 0.1
_GROWTH = 4.0


def pause_sec(error: TunerError, repeats: bool, tries: int) -> float | None:
    """How long to wait before the next try after ``tries`` that failed, the last with ``error``; None: give up.

    A request that does not repeat is sent again only where the service can't have seen to it: it turned the request
    away, or was not reached at all.
    """
    if tries >= TRIES:
        return None
    if isinstance(error, Busy):
        return float(error.retry_after_sec)
    cause = error.__cause__
    if not isinstance(error, ServiceUnreachable) or not isinstance(cause, httpx.TransportError):
        return None  # a refusal, or somebody else's answer: the next would be the same
    if not (repeats or isinstance(cause, httpx.ConnectError)):
        return None
    return _FIRST_PAUSE_SEC * _GROWTH ** (tries - 1)
