"""One shape for every error: ``{"error": {"code", "message", "hint"}}``."""

from __future__ import annotations

import errno
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from api.dashboard.rendering import error_page
from tuner.db.engine import storage_full
from tuner.errors import Busy, InvalidInput, NotFound, OffsetMismatch, TunerError
from tuner.schemas import ErrorOut

_LOGGER = logging.getLogger("tunesmith.api")

# For the OpenAPI document: any route may answer these.
RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorOut, "description": "The request can't be met; the hint says what to do."},
    "5XX": {"model": ErrorOut, "description": "The service can't meet it now."},
}


def install(app: FastAPI) -> None:
    """Make ``app`` answer every error in this shape."""
    app.add_exception_handler(TunerError, _on_tuner_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(OSError, _on_os_error)
    app.add_exception_handler(Exception, _on_bug)


def answer(error: TunerError, status: int | None = None, headers: dict[str, str] | None = None) -> JSONResponse:
    """The response for an error; one that is over in a moment says when to ask again, of a part where to go on."""
    if isinstance(error, Busy):
        headers = {**(headers or {}), "retry-after": str(error.retry_after_sec)}
    if isinstance(error, OffsetMismatch):
        headers = {**(headers or {}), "upload-offset": str(error.offset)}
    return JSONResponse({"error": error.as_dict()}, status or error.status, headers)


def failure(request: Request, error: Exception) -> JSONResponse:
    """The response for what went wrong outside of all routes."""
    return _on_tuner_error(request, error) if isinstance(error, TunerError) else _on_bug(request, error)


def _on_tuner_error(_request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, TunerError)
    if exc.status >= 500:
        _LOGGER.error("%s: %s", exc.code, exc.message)
    return answer(exc)


def _on_invalid(_request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, RequestValidationError)
    problems = "; ".join(f"{_field(error)}: {error['msg']}" for error in exc.errors())
    return answer(InvalidInput(f"Invalid request: {problems}.", "The fields and their limits are in /openapi.json."))


def _on_http(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    path = request.url.path
    error: TunerError
    if exc.status_code == 404:
        if "text/html" in request.headers.get("accept", "") and not path.startswith("/v1/"):  # somebody's browser
            return error_page(request, NotFound(f"There is no page {path}.", "Follow one of the links above."))
        error = NotFound(f"There is nothing at {path}.", "All routes are listed in /openapi.json.")
    elif exc.status_code == 405:
        error = InvalidInput(f"{path} takes no {request.method}.", "All routes are listed in /openapi.json.")
    else:
        error = InvalidInput(str(exc.detail), "All routes are listed in /openapi.json.")
    return answer(error, exc.status_code, dict(exc.headers or {}))


def _on_os_error(request: Request, exc: Exception) -> JSONResponse:
    if isinstance(exc, OSError) and exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return _on_tuner_error(request, storage_full(exc.filename or request.app.state.settings.root))
    return _on_bug(request, exc)


def _on_bug(request: Request, exc: Exception) -> JSONResponse:
    _LOGGER.error("%s %s failed", request.method, request.url.path, exc_info=exc)
    return answer(TunerError(f"{request.method} {request.url.path} failed: {type(exc).__name__}.", "See the web log."))


def _field(error: Mapping[str, Any]) -> str:
    if error["type"] == "json_invalid":  # its location is a position in the text
        return "body"
    return ".".join(str(part) for part in error["loc"] if part not in ("body", "query", "path", "header")) or "body"
