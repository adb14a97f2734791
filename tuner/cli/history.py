"""``tunesmith history``: what jobs of a model came to, one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from tuner.cli import words
from tuner.cli.common import JsonOption, UrlOption, connected, console, notes, print_json
from tuner.cli.tables import plain_table
from tuner.schemas import HistoryPoint

_COLOUR = {"faster": "green", "slower": "red"}


def history(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Its name, as `tunesmith jobs` shows it, or id.")],
    target: Annotated[str | None, typer.Option(help="Only jobs for this target.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many, the last ones.")] = 20,
    as_json: JsonOption = False,
    url: UrlOption = None,
) -> None:
    """Show how fast a model became over its jobs, oldest first."""
    with connected(url) as client:
        points = client.history(model, target, limit)
    if as_json:
        print_json(points)
    elif points:
        console.print(_table(points))
        for note in {words.weights_note(one.weights) for one in points} - {""}:
            console.print(note, highlight=False)
    else:
        notes.print(f"no job of {model} has timed its module yet", highlight=False, markup=False)


def _table(points: Iterable[HistoryPoint]) -> Table:
    """One line per result."""
    columns = ("when", "=job", "target", "shape", "in", ">median", ">p10", ">p90", ">PyTorch", "against the last")
    table = plain_table(*columns, "made with", "on")
    for one in points:
        table.add_row(
            f"{one.created_at:%Y-%m-%d %H:%M}",
            one.job_id,
            escape(one.target),
            one.shape,
            one.precision,
            *(words.milliseconds(value) for value in (one.median_ms, one.p10_ms, one.p90_ms, one.baseline_ms)),
            _change(one),
            escape(one.made_with),
            escape(f"{one.machine}, {one.threads} threads"),
        )
    return table


def _change(one: HistoryPoint) -> str:
    if one.change is None or not one.previous_ms:
        return words.DASH
    colour = _COLOUR.get(one.change, "dim")
    return f"[{colour}]{one.median_ms / one.previous_ms - 1:+.1%}, {one.change}[/]"
