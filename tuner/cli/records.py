"""Commands about records: list them, take them out, bring them in, forget them, open them again."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Annotated

import typer

from tuner.cli import tables, words
from tuner.cli.common import JsonOption, UrlOption, connected, console, notes, print_json
from tuner.errors import InvalidInput
from tuner.schemas import ImportOut

_LAST_LINE_BYTES = 4096  # of an export: enough for what it says of records that it lacks

app = typer.Typer(help="List records, take them out, bring them in, forget them.", no_args_is_help=True)

JobFilter = Annotated[str | None, typer.Option("--job", help="Only records of this job.")]
WorkloadFilter = Annotated[str | None, typer.Option("--workload", help="Only records of this workload.")]
RecordsOption = Annotated[
    Path | None,
    typer.Option(
        "--records",
        "--tuning-records",
        "--prior-records",
        exists=True,
        help="A log to start from, or MetaSchedule's folder.",
    ),
]
FamilyFilter = Annotated[str | None, typer.Option("--family", help="Only records of this target family.")]


@app.command("list")
def list_records(
    job: JobFilter = None,
    workload: WorkloadFilter = None,
    family: FamilyFilter = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only failed ones, with their reasons.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many, fastest first.")] = 50,
    as_json: JsonOption = False,
    url: UrlOption = None,
) -> None:
    """List what was measured, every attempt of it."""
    with connected(url) as client:
        found = client.records(limit, **_named(job, workload, family), failed=failed or None)
    if as_json:
        return print_json(found)
    console.print(tables.records_table(found.items))


@app.command("forget")
def forget_records(
    job: JobFilter = None,
    workload: WorkloadFilter = None,
    family: FamilyFilter = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only failed ones.")] = False,
    url: UrlOption = None,
) -> None:
    """Delete records of a job, a workload or a target family, for good."""
    with connected(url) as client:
        changed = client.forget_records(failed, **_named(job, workload, family))
    notes.print(f"deleted {changed.records:,} records", highlight=False)


@app.command("reopen")
def reopen_records(
    job: JobFilter = None, workload: WorkloadFilter = None, family: FamilyFilter = None, url: UrlOption = None
) -> None:
    """Let candidates that failed be tried again; what is known of them stays on record."""
    with connected(url) as client:
        changed = client.reopen_records(**_named(job, workload, family))
    notes.print(f"opened {changed.records:,} candidates again", highlight=False)


def _named(job: str | None, workload: str | None, family: str | None) -> dict[str, str | None]:
    return {"job_id": job, "workload_id": workload, "target_family": family}


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
    written, end = 0, b""
    with connected(url) as client, client.stream("/v1/records/export", params=params) as response:
        for block in response.iter_bytes():
            written += output.write(block)
            end = (end + block)[-_LAST_LINE_BYTES:]
    notes.print(f"wrote {written:,} bytes to {output.name}", highlight=False)
    if told := words.left_out(end):
        notes.print(told, highlight=False, markup=False)


@app.command("import")
def import_records(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A log that export wrote, Ansor's, or MetaSchedule's folder.")
    ],
    as_json: JsonOption = False,
    url: UrlOption = None,
) -> None:
    """Read records from a log; damaged lines are counted and left out."""
    content = log_content(file)
    with connected(url) as client, notes.status(f"sending {len(content):,} bytes"):
        result = client.import_records(file.name, content)
    if as_json:
        return print_json(result)
    if result.legacy:
        console.print(tables.legacy_table(result.legacy))
        for log in result.legacy:
            notes.print(words.legacy_use(log), highlight=False, markup=False)
    say_imported(result)


def say_imported(result: ImportOut) -> None:
    """What became of a log's records."""
    counts = f"{result.imported:,} imported, {result.duplicates:,} known already, {result.skipped:,} skipped"
    notes.print(counts, highlight=False)
    for problem in result.errors:
        notes.print(f"  {problem}", highlight=False, markup=False)


def log_content(file: Path) -> bytes:
    """A log as the service takes it. Raises InvalidInput for one that can't be read."""
    try:
        return zipped_pair(file) if file.is_dir() else file.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{file} can't be read: {error.strerror}.", "Give the path of a log.") from None


def zipped_pair(folder: Path) -> bytes:
    """The files of MetaSchedule's database in a folder, as the service takes them."""
    from tuner.db.metaschedule import RECORDS, WORKLOADS  # it brings all of the database

    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as pair:
        for name in (WORKLOADS, RECORDS):
            pair.write(folder / name, name)
    return archive.getvalue()
