"""Commands about single operators."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tuner.cli import words
from tuner.cli.common import JsonOption, StrategyOption, UrlOption, checked, connected, notes, print_json
from tuner.cli.jobs import follow_and_show
from tuner.client.http import Client
from tuner.errors import InvalidInput
from tuner.importers.operators import catalog, written
from tuner.schemas import BudgetIn, JobIn

_KINDS = ", ".join(f"{kind.name} {' '.join(kind.parameters)}" for kind in catalog.KINDS.values())


def tune_op(
    operator: Annotated[str, typer.Argument(metavar="OPERATOR", help=f"{_KINDS}; JSON, or FILE.py:FUNCTION.")],
    args: Annotated[list[int] | None, typer.Argument(metavar="[N]...", help="The operator's extents.")] = None,
    target: Annotated[str, typer.Option(help="What to compile for; `tunesmith targets` lists them.")] = "local",
    trials: Annotated[int | None, typer.Option(help="Budget in measured candidates.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Budget in minutes of tuning.")] = None,
    constant: Annotated[
        list[int] | None, typer.Option(help="Of FUNCTION: position of an input that is a weight; may be repeated.")
    ] = None,
    strategy: StrategyOption = "auto",
    cold: Annotated[bool, typer.Option("--cold", help="Ignore records that are already known.")] = False,
    priority: Annotated[int, typer.Option(help="Higher goes first; -100 to 100.")] = 0,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Show progress until it ends.")] = False,
    as_json: JsonOption = False,
    url: UrlOption = None,
) -> None:
    """Tune one operator, such as gemm 128 3072 768: submits a job."""
    wish: dict[str, object] = {
        "target": target,
        "budget": BudgetIn(trials=trials, minutes=minutes),
        "strategy": strategy,
        "cold": cold,
        "priority": priority,
    }
    with connected(url) as client:
        job = client.submit(checked(JobIn, wish | {"model": _model(client, operator, args or [], constant or [])}))
        notes.print(f"submitted {job.id}: {job.model}, {words.budget(job)}", highlight=False)
        if follow:
            follow_and_show(client, job.id, as_json)
        elif as_json:
            print_json(job)
        else:
            notes.print(f"follow it with: tunesmith follow {job.id}", highlight=False)


def _model(client: Client, operator: str, args: list[int], constants: list[int]) -> str:
    """The operator as a job's model; a function of the user's own is run here, and what it built is sent."""
    path, colon, function = operator.rpartition(":")
    if colon and path.endswith(".py"):
        return client.add_operator(written.from_file(Path(path), function, args, constants)).name
    if constants:
        raise InvalidInput("--constant is for functions of your own.", "Known operators know theirs.")
    if catalog.is_operator(operator):
        if args:
            raise InvalidInput(f"{operator} has its arguments in it already.", "Leave out the numbers after it.")
        return catalog.parse(operator).text
    return catalog.operator(operator, list(args)).text
