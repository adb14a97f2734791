"""What the service answers: models of ``tuner.schemas``, or a refusal, which becomes the ``TunerError`` it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx

from tuner.errors import ServiceUnreachable, TunerError, all_error_classes
from tuner.schemas import ErrorBody

T = TypeVar("T")
_ERRORS = {cls.code: cls for cls in reversed(all_error_classes())}


def raise_refusal(response: httpx.Response) -> None:
    """Raises the ``TunerError`` that an error answer carries; an answer in another shape is not our service's."""
    if response.is_success:
        return
    try:
        error = response.json()["error"]
        cls, message, hint = _ERRORS.get(error["code"], TunerError), error["message"], error.get("hint", "")
    except (ValueError, KeyError, TypeError):
        raise _strange(response) from None
    raise cls(message, hint)


def error_of(body: ErrorBody) -> TunerError:
    """What an error was that somebody tells of."""
    return _ERRORS.get(body.code, TunerError)(body.message, body.hint)


def parsed(response: httpx.Response, parse: Callable[[Any], T]) -> T:
    """What ``parse`` makes of an answer's JSON; an answer in another shape is not our service's."""
    try:
        return parse(response.json() if response.content else None)
    except ValueError as error:  # no JSON, or none of that model
        raise _strange(response) from error


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Raises ServiceUnreachable where nobody answers at ``url``, or the connection breaks."""
    try:
        yield
    except httpx.TransportError as error:
        raise ServiceUnreachable(
            f"No service answers at {url} ({error or type(error).__name__}).",
            "Start it with `tunesmith serve`, or name another with --url.",
        ) from error


def _strange(response: httpx.Response) -> ServiceUnreachable:
    return ServiceUnreachable(
        f"{response.request.url} answered {response.status_code} in a shape that is not TuneSmith's.",
        "Check the address given with --url, and that the service there is of this version.",
    )
