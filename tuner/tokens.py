"""Tokens: who shows one may come in. The data directory's own is for its owner; others have a name and a scope.

A token is 256 random bits, so that its SHA-256 can't be turned back and needs no salt. Only that is kept of those with
a name; the data directory's own lies there as it is, in a file for its owner's eyes, as Jupyter keeps its own.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from rpc.loopback import is_loopback
from tuner.config import Settings
from tuner.errors import InvalidInput
from tuner.schemas import SCOPES, TokenScope

_SHORTEST = 20  # characters of a token that somebody put into the file


def new_token() -> str:
    """A token that nobody has; its beginning tells people, and what looks for lost secrets, what it is."""
    return f"tsm_{secrets.token_urlsafe(32)}"


def digest(token: str) -> str:
    """What is kept of a token: its SHA-256, hex."""
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


def allows(scope: TokenScope, needed: TokenScope) -> bool:
    """May a token of ``scope`` do what needs ``needed``? Each scope includes those before it."""
    return SCOPES.index(scope) >= SCOPES.index(needed)


def own_token(path: Path) -> str:
    """The token in the file, which is made when there is none. Raises InvalidInput when something else is in it."""
    if not path.exists():
        _make(path)
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    return _read(path)


def known_token(path: Path) -> str | None:
    """The token in the file, if there is one that we may read."""
    try:
        return _read(path)
    except (OSError, InvalidInput):
        return None


def check_doors(settings: Settings) -> None:
    """Raises InvalidInput for a service that would let in whoever reaches it from elsewhere."""
    if settings.auth == "none" and not is_loopback(settings.host):
        raise InvalidInput(
            f"TUNER_AUTH=none lets everybody in, and {settings.host} can be reached from beyond this machine.",
            "Leave TUNER_AUTH out, or leave out --host and TUNER_HOST and let a proxy that asks for a login lead here.",
        )


def _make(path: Path) -> None:
    """Write a token whole; of two that do so at once, the first counts."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)  # for its owner's eyes
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{new_token()}\n")
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.unlink(draft)


def _read(path: Path) -> str:
    token = path.read_text(errors="replace").strip()
    if len(token) < _SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidInput(
            f"{path} holds no token: one has at least {_SHORTEST} characters, and no blanks.",
            "Remove the file: the next start of the service makes a new one.",
        )
    return token
