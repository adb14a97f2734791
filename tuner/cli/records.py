"""Commands about records: take them out, bring them in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tuner.cli import tables, words
from tuner.cli.common import JsonOption, UrlOption, connected, console, notes, print_json
from tuner.errors import InvalidInput

app = typer.Typer(help="Take records out, bring them in.", no_args_is_help=True)


@app.command("export")
def export_records(
    output: Annotated[typer.FileBinaryWrite, typer.Option("--output", "-o", help="File to write; - is stdout.")],
    job: Annotated[str | None, typer.Option(help="Only records of this job.")] = None,
    workload: Annotated[str | None, typer.Option(help="Only records of this workload.")] = None,
    family: Annotated[str | None, typer.Option(help="Only records of this target family.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Failed candidates as well.")] = False,
    metaschedule: Annotated[bool, typer.Option("--metaschedule", help="The pair of files MetaSchedule reads.")] = False,
    url: UrlOption = None,
) -> None:
    """Write records as a log, one JSON document a line."""
    wanted = {"job_id": job, "workload_id": workload, "target_family": family}
    params: dict[str, str] = {key: value for key, value in wanted.items() if value}
    if failed:
        params["failed"] = "true"
    if metaschedule:
        params["format"] = "metaschedule"
    written = 0
    with connected(url) as client, client.stream("/v1/records/export", params=params) as response:
        for block in response.iter_bytes():
            written += output.write(block)
    notes.print(f"wrote {written:,} bytes to {output.name}", highlight=False)


@app.command("import")
def import_records(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A log written by export, or one of Ansor; plain or gzipped.")
    ],
    as_json: JsonOption = False,
    url: UrlOption = None,
) -> None:
    """Read records from a log; damaged lines are counted and left out."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{file} can't be read: {error.strerror}.", "Give the path of a log.") from None
    with connected(url) as client, notes.status(f"sending {len(content):,} bytes"):
        result = client.import_records(file.name, content)
    if as_json:
        return print_json(result)
    if result.legacy:
        console.print(tables.legacy_table(result.legacy))
        for log in result.legacy:
            notes.print(words.legacy_use(log), highlight=False, markup=False)
    counts = f"{result.imported:,} imported, {result.duplicates:,} known already, {result.skipped:,} skipped"
    notes.print(counts, highlight=False)
    for problem in result.errors:
        notes.print(f"  {problem}", highlight=False, markup=False)
