"""Commands that look into a model here, without a job: its kernels, and the model in forms that other programs read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from rpc.lean import importing, without_torch
from tuner.cli import words
from tuner.cli.common import (
    BatchOption,
    DataDirOption,
    HeadOption,
    JsonOption,
    SeqLenOption,
    checked,
    console,
    notes,
    settings_with,
)
from tuner.cli.kernels import GraphForm
from tuner.cli.quietly import quiet
from tuner.config import Settings
from tuner.errors import InvalidInput
from tuner.schemas import JobIn

if TYPE_CHECKING:
    from tuner.jobs.standalone import Order
    from tuner.kernels.workload import ExtractedWorkload

_FORMATS = ("onnx", "pt2", "relax")

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="Preset, hub id, folder, .onnx or .pt2 file.")]
TargetOption = Annotated[str, typer.Option(help="What it would be compiled for.")]
PickleOption = Annotated[bool, typer.Option("--allow-pickle", help="Trust weights that can run code.")]


def tasks(
    model: ModelArgument,
    target: TargetOption = "local",
    batch: BatchOption = None,
    seq_len: SeqLenOption = None,
    head: HeadOption = None,
    tir: Annotated[str | None, typer.Option("--tir", help="Print the TIR of this kernel instead.")] = None,
    graph: Annotated[str | None, typer.Option("--graph", help="Print the graph around this kernel instead.")] = None,
    form: Annotated[GraphForm, typer.Option(help="Of --graph.")] = "text",
    allow_pickle: PickleOption = False,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """List a model's kernels, which are what a job tunes; needs no service."""
    settings, order = _order(model, target, batch, seq_len, head, allow_pickle, data_dir)
    from tuner.graph.surroundings import told
    from tuner.jobs.looking import surroundings, tasks_of

    with quiet(settings, _say):
        if graph is not None:
            return console.out(told(surroundings(settings, order, graph, _say), form), highlight=False)
        found = tasks_of(settings, order, _say)
    if tir is not None:
        console.print(_named(found, tir).mod.script(), highlight=False, markup=False, soft_wrap=True)
    elif as_json:
        rows = [
            {"name": one.name, "id": one.id, "shapes": one.summary, "launches": one.weight, "flops": one.flops,
             "weight_bytes": one.weight_bytes, "is_tuned": one.tunable}
            for one in found
        ]  # fmt: skip
        print(json.dumps(rows, indent=2))
    else:
        console.print(_table(found))


def export(
    model: ModelArgument,
    form: Annotated[str, typer.Option("--format", help=f"One of {', '.join(_FORMATS)}.")],
    out: Annotated[Path, typer.Option("--out", "-o", dir_okay=False, help="File to write.")],
    target: TargetOption = "local",
    batch: BatchOption = None,
    seq_len: SeqLenOption = None,
    head: HeadOption = None,
    allow_pickle: PickleOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Write a model as an ONNX graph, a program of PyTorch, or the graph that is tuned; needs no service."""
    if form not in _FORMATS:
        raise typer.BadParameter(f"--format is {', '.join(_FORMATS)}, not {form}")
    settings, order = _order(model, target, batch, seq_len, head, allow_pickle, data_dir)
    from tuner.jobs import looking

    out.parent.mkdir(parents=True, exist_ok=True)
    with quiet(settings, _say):
        if form == "relax":
            looking.export_relax(settings, order, out, _say)
        elif form == "onnx":
            looking.export_onnx(settings, order, out)
        else:
            looking.export_program(settings, order, out)
    console.print(f"wrote {out} ({words.size(out.stat().st_size)})", highlight=False, markup=False, soft_wrap=True)


def _order(
    model: str,
    target: str,
    batch: int | None,
    seq_len: int | None,
    head: str | None,
    allow_pickle: bool,
    data_dir: Path | None,
) -> tuple[Settings, Order]:
    with importing(), without_torch():  # TVM for who runs this alone, PyTorch once a model is imported
        from rpc.facts import device_facts
        from tuner.importers.source import resolve_source
        from tuner.jobs.standalone import Order
        from tuner.targets import presets

    wish = checked(JobIn, {"model": model, "batch": batch, "seq_len": seq_len})
    settings = settings_with(data_dir=data_dir)
    wanted = presets.resolve(target, settings.device_key, device_facts())
    return settings, Order(resolve_source(model, allow_pickle, head), wanted, wish.batch, wish.seq_len)


def _say(line: str) -> None:
    notes.print(line, highlight=False)


def _named(found: list[ExtractedWorkload], name: str) -> ExtractedWorkload:
    for one in found:
        if name in (one.name, one.id):
            return one
    raise InvalidInput(f"There is no kernel {name!r}.", f"There are {', '.join(one.name for one in found)}.")


def _table(found: list[ExtractedWorkload]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("kernel", "shapes", ">launches", ">GFLOP", ">weights", "tuned"):
        table.add_column(name.removeprefix(">"), justify="right" if name.startswith(">") else "left", no_wrap=True)
    for one in found:
        amount = f"{one.flops * one.weight / 1e9:.3g}"
        weights = words.size(one.weight_bytes) if one.weight_bytes else words.DASH
        table.add_row(one.name, one.summary, str(one.weight), amount, weights, "yes" if one.tunable else "no")
    return table
