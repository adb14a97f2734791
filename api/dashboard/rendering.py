"""Templates to responses: filters, the security policy, and errors as pages instead of JSON."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from importlib import metadata
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates
from markupsafe import Markup, escape
from starlette.types import Scope

from api.dashboard import words
from api.dashboard.charts.bars import variant_name
from tuner.errors import InvalidInput, NotFound, TunerError
from tuner.importers.operators.files import label
from tuner.jobs.eta import time_left
from tuner.jobs.failure_kinds import kind_in_words
from tuner.jobs.terms import in_words
from tuner.state import ACTIVE, TUNING_AHEAD

STATIC = Path(__file__).resolve().parent.parent / "static"
TEMPLATES = Jinja2Templates(directory=Path(__file__).resolve().parent / "templates")
POLICY = "; ".join(
    (
        "default-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def code_spans(text: str) -> Markup:
    """Plain text with its backticked commands as ``<code>``; everything else is escaped."""
    pieces = (
        Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(text.split("`"))
    )
    return Markup("").join(pieces)


TEMPLATES.env.filters |= {
    name: getattr(words, name)
    for name in (
        "ago", "count", "duration", "microseconds", "milliseconds", "percent", "scientific", "significant", "size",
        "times", "tone", "weights_note",
    )
} | {
    "code_spans": code_spans, "kind_in_words": kind_in_words, "label": label, "terms": in_words, "time_left": time_left,
    "variant_name": variant_name,
}  # fmt: skip
TEMPLATES.env.globals |= {
    "active": ACTIVE,
    "fact": words.fact,
    "pausable": TUNING_AHEAD,
    "version": metadata.version("tunesmith"),
}
TEMPLATES.env.trim_blocks = TEMPLATES.env.lstrip_blocks = True


def compile_templates() -> None:
    """Do what the first to look at each page would wait for."""
    for name in TEMPLATES.env.list_templates():
        TEMPLATES.env.get_template(name)


def page(request: Request, template: str, status: int = 200, **context: Any) -> Response:
    """The template as a response that forbids everything from elsewhere, inline scripts and framing."""
    return TEMPLATES.TemplateResponse(request, template, context, status_code=status, headers=HEADERS)


class PageRoute(APIRoute):
    """A route whose errors are pages a person can read, with the same message and hint as over REST."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler with errors turned into pages."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except TunerError as error:
                return error_page(request, error)
            except RequestValidationError as error:
                first = error.errors()[0]
                message = f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}"
                return error_page(request, InvalidInput(message, "Go back and follow a link of the page."))

        return handle


def error_page(request: Request, error: TunerError) -> Response:
    """The error as a page with its own HTTP status."""
    title = "Not here" if isinstance(error, NotFound) else HTTPStatus(error.status).phrase
    return page(request, "error.html", error.status, error=error, title=title)


class FreshStatic(StaticFiles):
    """Static files the browser asks about each time (304 mostly), so that an upgrade shows at once."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file, to be kept but not trusted."""
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response
