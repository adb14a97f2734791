"""Commands about uploads: models that were sent to a service elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tuner.cli import tables
from tuner.cli.common import JsonOption, UrlOption, connected, console, notes, print_json
from tuner.cli.sending import send_shown
from tuner.client import calls

uploads_app = typer.Typer(help="Send models to a service elsewhere, list and delete them.", no_args_is_help=True)
NameArgument = Annotated[str, typer.Argument(metavar="UPLOAD", help="Its name or id.")]


@uploads_app.command("send")
def send_upload(
    folder: Annotated[Path, typer.Argument(exists=True, metavar="FOLDER", help="Folder of a model, or its graph.")],
    allow_pickle: Annotated[bool, typer.Option("--allow-pickle", help="Send weights that can run code too.")] = False,
    as_json: JsonOption = False,
    url: UrlOption = None,
) -> None:
    """Send a model, to be tuned later; one that broke off goes on where it was."""
    with connected(url) as client:
        upload = send_shown(client, folder.absolute(), allow_pickle)
    if as_json:
        print_json(upload)
    else:
        notes.print(f"tune it with: tunesmith tune {upload.model}", highlight=False, markup=False)


@uploads_app.command("list")
def list_uploads(
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    as_json: JsonOption = False,
    url: UrlOption = None,
) -> None:
    """List uploads, the newest first."""
    with connected(url) as client:
        page = client.ask(calls.uploads(limit))
    if as_json:
        print_json(page)
    elif page.items:
        console.print(tables.uploads_table(page.items))
    else:
        notes.print("no uploads; a folder that the service can't see becomes one: tunesmith tune ./folder")


@uploads_app.command("show")
def show_upload(upload: NameArgument, as_json: JsonOption = False, url: UrlOption = None) -> None:
    """Show an upload and how far each of its files is."""
    with connected(url) as client:
        found = client.ask(calls.upload(upload))
    if as_json:
        return print_json(found)
    console.print(tables.uploads_table([found]))
    console.print()
    console.print(tables.upload_files_table(found))


@uploads_app.command("delete")
def delete_upload(upload: NameArgument, url: UrlOption = None) -> None:
    """Delete an upload that no job uses, or give up one that is on its way."""
    with connected(url) as client:
        client.ask(calls.delete_upload(upload))
    notes.print(f"deleted {upload}", highlight=False, markup=False)
