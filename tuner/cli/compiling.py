"""The command that compiles a model without tuning it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rpc.lean import importing, without_torch
from tuner.cli import words
from tuner.cli.common import (
    BatchOption,
    DataDirOption,
    HeadOption,
    JsonOption,
    PrecisionOption,
    SeqLenOption,
    checked,
    console,
    notes,
    print_json,
    settings_with,
)
from tuner.cli.quietly import quiet
from tuner.cli.records import RecordsOption, log_content, say_imported
from tuner.schemas import JobIn


def compile(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Preset, hub id, folder, .onnx or .pt2 file.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", "--output", help="Artifact to write; .so or .dylib: its library alone.")
    ],
    target: Annotated[str, typer.Option(help="What to compile for.")] = "local",
    batch: BatchOption = None,
    seq_len: SeqLenOption = None,
    precision: PrecisionOption = "fp32",
    head: HeadOption = None,
    records: RecordsOption = None,
    dump: Annotated[Path | None, typer.Option(help="Folder for all it comes by: graphs, TIR, code, log.")] = None,
    allow_pickle: Annotated[bool, typer.Option("--allow-pickle", help="Trust weights that can run code.")] = False,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compile a model for a target here, without tuning: from the records there are; needs no service."""
    with importing(), without_torch():  # TVM for who runs this alone, PyTorch once a model is imported
        from rpc.facts import device_facts
        from tuner.importers.source import resolve_source
        from tuner.jobs.standalone import Order, bring_in_records, compile_model
        from tuner.targets import presets

    wish = checked(JobIn, {"model": model, "batch": batch, "seq_len": seq_len, "precision": precision})
    settings = settings_with(data_dir=data_dir)
    wanted = presets.resolve(target, settings.device_key, device_facts())
    order = Order(resolve_source(model, allow_pickle, head), wanted, wish.batch, wish.seq_len, wish.precision)

    def say(line: str) -> None:
        notes.print(line, highlight=False)

    if records:
        say_imported(bring_in_records(settings, log_content(records)))
    with quiet(settings, say):
        manifest = compile_model(settings, order, out, say, dump)
    if as_json:
        print_json(manifest)
        return
    console.print(words.compiled(manifest), highlight=False, markup=False, soft_wrap=True)
    if lost := (manifest.get("verification") or {}).get("fidelity"):
        console.print(words.fidelity(precision, lost), highlight=False, markup=False, soft_wrap=True)
    size = words.size(out.stat().st_size)
    console.print(f"wrote {out} ({size})", highlight=False, markup=False, soft_wrap=True)
    if dump is not None:
        console.print(f"wrote {dump / 'index.md'}", highlight=False, markup=False, soft_wrap=True)
