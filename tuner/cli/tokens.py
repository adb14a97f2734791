"""Commands about tokens: who may do what over REST."""

from __future__ import annotations

from typing import Annotated

import typer

from tuner.cli import tables
from tuner.cli.common import JsonOption, UrlOption, checked, connected, console, notes, print_json
from tuner.schemas import TokenIn

token_app = typer.Typer(help="Let others in: make tokens, list and end them.", no_args_is_help=True)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Who or what it is for.")]


@token_app.command("new")
def new_token(
    name: NameArgument,
    scope: Annotated[
        str, typer.Option(help="read: look; submit: add and steer work too; admin: everything.")
    ] = "submit",
    as_json: JsonOption = False,
    url: UrlOption = None,
) -> None:
    """Make a token; it is printed this once."""
    with connected(url) as client:
        made = client.add_token(checked(TokenIn, {"name": name, "scope": scope}, "NAME"))
    if as_json:
        print_json(made)
    else:
        console.print(made.token, markup=False, highlight=False, soft_wrap=True)
        notes.print(f"it allows `{made.scope}`; keep it: nobody can be told it again", highlight=False)
        notes.print(f"elsewhere: TUNER_URL=... TUNER_TOKEN=... tunesmith jobs; end it: tunesmith token revoke {name}")


@token_app.command("list")
def list_tokens(as_json: JsonOption = False, url: UrlOption = None) -> None:
    """List the tokens that have names."""
    with connected(url) as client:
        found = client.tokens()
    if as_json:
        print_json(found)
    elif found:
        console.print(tables.tokens_table(found))
    else:
        notes.print("no tokens but the service's own; make one with: tunesmith token new NAME", highlight=False)


@token_app.command("revoke")
def revoke_token(name: NameArgument, url: UrlOption = None) -> None:
    """End a token."""
    with connected(url) as client:
        client.revoke_token(name)
    notes.print(f"{name} lets nobody in any more", highlight=False, markup=False)
