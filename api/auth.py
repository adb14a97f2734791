"""Lets in who shows a token: programs in a header, browsers in a cookie."""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass

from anyio.to_thread import run_sync
from fastapi import Request, Response
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import ASGIApp, Receive, Scope, Send

from api import errors
from api.dashboard import sign_in
from api.scopes import is_page, needed
from tuner.config import Settings
from tuner.db import tokens
from tuner.db.engine import read
from tuner.errors import ScopeMissing, TokenNeeded, TunerError
from tuner.schemas import TokenScope
from tuner.tokens import allows, digest, own_token

_HINT = (
    "Send it as `Authorization: Bearer TOKEN`; commands take it from TUNER_TOKEN. The service's user finds one in the "
    "file `token` of its data directory, and makes others by `tunesmith token new`."
)


@dataclass(frozen=True)
class Caller:
    """Whose request it is: a token's name, empty for the data directory's own, and what that allows."""

    name: str
    scope: TokenScope


_ANYBODY = Caller("", "admin")  # where nobody is asked


class Doorkeeper:
    """Knows the tokens: the data directory's own as it was at the start, those with names as they are now."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._own = None if settings.auth == "none" else digest(own_token(settings.token_file))
        self._engine = engine

    def anonymous(self) -> Caller | None:
        """Who shows no token, if that is enough."""
        return _ANYBODY if self._own is None else None

    def caller(self, token: str) -> Caller | None:
        """Whose token it is; compared by digests, whose likeness to another tells nothing of the token."""
        shown = digest(token)
        if self._own is None or hmac.compare_digest(shown, self._own):
            return _ANYBODY
        with read(self._engine) as session:
            found = tokens.by_digest(session, shown)
        return Caller(found.name, found.scope) if found else None

    def still_good(self, digests: set[str]) -> set[str]:
        """Those of the digests of tokens with names that nobody has revoked."""
        with read(self._engine) as session:
            return tokens.known(session, digests)


class AskForToken:
    """ASGI middleware: looks at each request before any of its body is read, and leaves in its state who sends it."""

    def __init__(self, app: ASGIApp, doorkeeper: Doorkeeper) -> None:
        self._app = app
        self._doorkeeper = doorkeeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        app = self._app
        if scope["type"] == "http":
            request = Request(scope)
            try:
                app = await self._refusal(request) or app
            except (TunerError, SQLAlchemyError) as error:
                app = errors.failure(request, error)
        await app(scope, receive, send)

    async def _refusal(self, request: Request) -> Response | None:
        path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        scope = needed(request.method, path)
        if request.method == "GET" and is_page(path) and (token := request.query_params.get(sign_in.PARAMETER)):
            return sign_in.welcome(request, token) if await self._caller(token) else sign_in.ask(request, wrong=True)
        caller = await self._sender(request, is_open=scope is None)
        request.state.caller = caller
        if scope is None or (caller and allows(caller.scope, scope)):
            return None
        what = f"{request.method} {request.url.path}"
        if caller:
            return errors.answer(
                ScopeMissing(
                    f"{what} needs a token for `{scope}`; {caller.name} is one for `{caller.scope}`.",
                    f"Make one with `tunesmith token new NAME --scope {scope}`.",
                )
            )
        if is_page(path) and "text/html" in request.headers.get("accept", ""):
            return sign_in.ask(request)
        shown = "the one it shows is not known here" if token_of(request) else "it shows none"
        return errors.answer(
            TokenNeeded(f"{what} needs a token, and {shown}.", _HINT), headers={"www-authenticate": "Bearer"}
        )

    async def _sender(self, request: Request, is_open: bool) -> Caller | None:
        token = token_of(request)
        if token is None:
            return self._doorkeeper.anonymous()
        try:
            return await self._caller(token)
        except (TunerError, SQLAlchemyError):
            if is_open:  # health is answered without a database too
                return None
            raise

    async def _caller(self, token: str) -> Caller | None:
        return await run_sync(self._doorkeeper.caller, token)


def token_of(request: Request) -> str | None:
    """The token that a request shows: a program's header, of pip its password, else a browser's cookie.

    A browser's cookie goes before a password, which is a proxy's there.
    """
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return token.strip()
    cookie = sign_in.cookie_of(request)
    return _password(token) if cookie is None and kind.lower() == "basic" else cookie


def _password(credentials: str) -> str:
    """Of ``USER:PASSWORD`` as a URL's are sent; empty where they are none."""
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""
