"""Tokens with a name: what of them is kept, for whom, and what they allow."""

from __future__ import annotations

from collections.abc import Collection

from sqlmodel import Session, col, select

from tuner.db.models import Token
from tuner.errors import Conflict, NotFound
from tuner.schemas import TokenScope


def add(session: Session, name: str, scope: TokenScope, digest: str) -> Token:
    """Add a token. Call within ``write``. Raises Conflict when there is one of this name."""
    if session.get(Token, name) is not None:
        raise Conflict(
            f"There is a token named {name} already.",
            f"Choose another name, or end that one first: `tunesmith token revoke {name}`.",
        )
    token = Token(name=name, scope=scope, digest=digest)
    session.add(token)
    session.flush()
    return token


def find(session: Session) -> list[Token]:
    """All tokens, by name."""
    return list(session.exec(select(Token).order_by(col(Token.name))))


def by_digest(session: Session, digest: str) -> Token | None:
    """The token that this was made from, if it is still good."""
    return session.exec(select(Token).where(Token.digest == digest)).first()


def known(session: Session, digests: Collection[str]) -> set[str]:
    """Those of the digests that are still tokens'."""
    return set(session.exec(select(Token.digest).where(col(Token.digest).in_(digests))))


def revoke(session: Session, name: str) -> None:
    """End a token. Call within ``write``. Raises NotFound naming it."""
    token = session.get(Token, name)
    if token is None:
        raise NotFound(f"There is no token named {name}.", "List them with `tunesmith token list`.")
    session.delete(token)
