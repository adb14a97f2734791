"""Commands about what there is: models, targets, devices."""

from __future__ import annotations

from typing import Annotated

import typer

from tuner.cli import tables, words
from tuner.cli.common import HeadOption, JsonOption, UrlOption, checked, connected, console, notes, print_json
from tuner.cli.sending import seen_there
from tuner.schemas import ModelIn

models_app = typer.Typer(help="List models, add one.", no_args_is_help=True)


@models_app.command("list")
def list_models(as_json: JsonOption = False, url: UrlOption = None) -> None:
    """List the models the service knows."""
    with connected(url) as client:
        page = client.models()
    if as_json:
        print_json(page)
    elif page.items:
        console.print(tables.models_table(page.items))
    else:
        notes.print("no models yet; add one with: tunesmith models add bert-base-uncased", highlight=False)


@models_app.command("add")
def add_model(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="Preset, hub id, folder, file, or upload:NAME.")],
    head: HeadOption = None,
    allow_pickle: Annotated[bool, typer.Option("--allow-pickle", help="Trust weights that can run code.")] = False,
    as_json: JsonOption = False,
    url: UrlOption = None,
) -> None:
    """Add a model without tuning it yet."""
    wish = {"name": name, "head": head, "allow_pickle": allow_pickle}
    with connected(url) as client:
        checked(ModelIn, wish)  # before anything is sent
        model = client.add_model(checked(ModelIn, wish | {"name": seen_there(client, name, allow_pickle)}))
    if as_json:
        print_json(model)
    else:
        notes.print(f"added {model.name} as {model.id}", highlight=False)


def targets(as_json: JsonOption = False, url: UrlOption = None) -> None:
    """List what can be tuned for."""
    with connected(url) as client:
        found = client.targets()
    if as_json:
        print_json(found)
    else:
        for target in found:
            console.print(words.target(target), highlight=False, markup=False, soft_wrap=True)


def devices(as_json: JsonOption = False, url: UrlOption = None) -> None:
    """List the devices and their state."""
    with connected(url) as client:
        found = client.devices()
    if as_json:
        print_json(found)
    elif found:
        console.print(tables.devices_table(found))
        for device in found:
            if device.problem:
                console.print(f"{device.key} {device.problem}", highlight=False, markup=False, soft_wrap=True)
    else:
        notes.print("no device yet; see what is missing with: tunesmith doctor", highlight=False)
