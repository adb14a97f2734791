"""How a browser gets its cookie: from a token in the URL, which is gone from there at once, or in a form."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from api.dashboard.rendering import HEADERS, PageRoute, page

PARAMETER = "token"
_COOKIE_SEC = 30 * 24 * 3600
_LONGEST = 400  # characters of what may be typed

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.post("/login")
def log_in(
    request: Request,
    token: Annotated[str, Form(max_length=_LONGEST)],
    then: Annotated[str, Form(max_length=_LONGEST)] = "/",
) -> Response:
    """From the form of ``ask`` to the page that was asked for."""
    known = request.app.state.doorkeeper.caller(token.strip()) is not None
    return _enter(request, token.strip(), then) if known else _form(request, then, wrong=True)


def welcome(request: Request, token: str) -> Response:
    """To a browser that came with a good token in the URL: the cookie, and the same page without the token."""
    return _enter(request, token, _here(request))


def ask(request: Request, wrong: bool = False) -> Response:
    """To a browser without a token, or with a wrong one: where to find one, and a form to type it into."""
    return _form(request, _here(request), wrong)


def cookie_of(request: Request) -> str | None:
    """The token in a browser's cookie."""
    return request.cookies.get(_cookie_name(request))


def _enter(request: Request, token: str, then: str) -> Response:
    inside = then.startswith("/") and not then.startswith("//")  # the rest is quoted, and leads nowhere else
    response = RedirectResponse(then if inside else "/", 303, {**HEADERS, "Referrer-Policy": "no-referrer"})
    response.set_cookie(
        _cookie_name(request),
        token,
        max_age=_COOKIE_SEC,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return response


def _form(request: Request, then: str, wrong: bool) -> Response:
    return page(request, "login.html", 401, then=then[:_LONGEST], wrong=wrong, stranger=True)


def _here(request: Request) -> str:
    """Path and query of the request, without the token."""
    rest = [(name, value) for name, value in request.query_params.multi_items() if name != PARAMETER]
    return request.url.path + (f"?{urlencode(rest)}" if rest else "")


def _cookie_name(request: Request) -> str:
    """With the port in it: services of one host share a jar, though they are not the same."""
    url = request.url
    return f"tunesmith-{url.port or (443 if url.scheme == 'https' else 80)}"
