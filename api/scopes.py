"""What a request needs to be let in: the one place that says so. What is not named here is closed."""

from __future__ import annotations

from typing import Any

from tuner.schemas import TokenScope

OPEN = frozenset({"/healthz", "/readyz", "/login"})  # the first two say little to who shows no token
OPEN_BELOW = "/static/"  # what everybody has who has TuneSmith
TOKENS = "/v1/tokens"
UPLOADS = "/v1/uploads/"  # who may send one may give it up; the route sees to it that it is the sender's own

_READING = ("GET", "HEAD", "OPTIONS")
_SECURITY_SCHEME = "token"


def needed(method: str, path: str) -> TokenScope | None:
    """The scope that a request needs, None for one that needs no token.

    Looking needs ``read``, adding and steering work ``submit``, deleting and everything about tokens ``admin``.
    """
    if path in OPEN or path.startswith(OPEN_BELOW):
        return None
    if (method == "DELETE" and not path.startswith(UPLOADS)) or path.startswith(TOKENS):
        return "admin"
    return "read" if method in _READING else "submit"


def is_page(path: str) -> bool:
    """Does a person look at what is there?"""
    return not path.startswith(("/v1", OPEN_BELOW, "/openapi.json", "/healthz", "/readyz"))


def describe(document: dict[str, Any]) -> None:
    """Say in an OpenAPI document what each route needs."""
    scheme = {"type": "http", "scheme": "bearer", "description": "A token; browsers have it as a cookie."}
    document.setdefault("components", {})["securitySchemes"] = {_SECURITY_SCHEME: scheme}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if (scope := needed(method.upper(), path)) is not None:
                operation["security"] = [{_SECURITY_SCHEME: [scope]}]
