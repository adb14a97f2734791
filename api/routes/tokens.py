"""Tokens: make, list, end."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.deps import EngineDep
from tuner.db import tokens
from tuner.db.engine import read, write
from tuner.schemas import TokenIn, TokenNew, TokenOut
from tuner.tokens import digest, new_token

router = APIRouter(prefix="/tokens", tags=["tokens"])


@router.post("", status_code=201)
def add_token(body: TokenIn, engine: EngineDep, response: Response) -> TokenNew:
    """Make a token with a name and a scope; it is told this once."""
    token = new_token()
    with write(engine) as session:
        row = tokens.add(session, body.name, body.scope, digest(token))
        made = TokenOut.model_validate(row, from_attributes=True)
    response.headers["Cache-Control"] = "no-store"
    return TokenNew(**made.model_dump(), token=token)


@router.get("")
def list_tokens(engine: EngineDep) -> list[TokenOut]:
    """The tokens that have names, by name; not what they are."""
    with read(engine) as session:
        return [TokenOut.model_validate(row, from_attributes=True) for row in tokens.find(session)]


@router.delete("/{name}", status_code=204)
def revoke_token(name: str, engine: EngineDep) -> None:
    """End a token: whoever shows it from now on is refused."""
    with write(engine) as session:
        tokens.revoke(session, name)
