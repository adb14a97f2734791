"""What failed of a job's candidates, and one of them tried once more here."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from tuner.apart import Limits, answered
from tuner.cli import words
from tuner.cli.common import JsonOption, UrlOption, connected, console, notes, print_json, settings_with
from tuner.cli.quietly import quiet
from tuner.cli.tables import plain_table
from tuner.client.http import Client
from tuner.errors import StageFailed
from tuner.jobs.failure_kinds import kind_in_words
from tuner.schemas import CandidateOut, FailureOut

_LIMITS = Limits(seconds=600.0, memory_bytes=4 * 2**30)


def print_failures(client: Client, job_id: str, as_json: bool) -> None:
    """Prints a job's failures by kind, and how to repeat one."""
    found = client.failures(job_id)
    if as_json:
        return print_json(found)
    if not found:
        return notes.print("no candidate failed", highlight=False)
    console.print(_table(found))
    last = found[0].latest[0].candidate
    notes.print(f"what one is: tunesmith show {job_id} --candidate {last} --tir", highlight=False)
    notes.print(f"try it again: tunesmith retry {job_id} {last}", highlight=False)


def retry(
    job_id: Annotated[str, typer.Argument(metavar="JOB", help="Id of the job that tried it.")],
    candidate: Annotated[str, typer.Argument(metavar="CANDIDATE", help="As `tunesmith show JOB --failures` lists it.")],
    as_json: JsonOption = False,
    url: UrlOption = None,
) -> None:
    """Build a candidate of a job once more here, run and check it, and tell how it fails."""
    with connected(url) as client:
        known = client.candidate(job_id, candidate)
    if known.error_class:
        notes.print(f"{known.name}: {kind_in_words(known.error_class)}: {known.error}", highlight=False, markup=False)
    found = _tried(known)
    if as_json:
        print_json(found)
    else:
        console.print(_in_words(found), highlight=False, markup=False, soft_wrap=True)
    if found.get("error_class"):
        raise typer.Exit(1)


def _tried(candidate: CandidateOut) -> dict[str, Any]:
    """What becomes of it, in a process of its own, which it may end."""
    ends: list[str] = []

    def blamed(end: str) -> StageFailed:
        ends.append(end)
        return StageFailed(end)

    settings = settings_with()
    folder = settings.temporary_dir
    folder.mkdir(parents=True, exist_ok=True)
    question = candidate.model_dump(mode="json"), str(folder), settings.build_timeout_sec
    with quiet(settings, lambda line: notes.print(line, highlight=False)):
        try:
            found: dict[str, Any] = answered("tuner.jobs.retrying_worker", question, _LIMITS, blamed)
        except StageFailed:
            if not ends:
                raise
            return {"error_class": "crash", "error": ends[0]}
    return found


def _in_words(found: dict[str, Any]) -> str:
    if found.get("error_class"):
        return f"it fails: {kind_in_words(found['error_class'])}: {found['error']}"
    if "not_run" in found:
        return f"it builds. {found['not_run']}"
    took = words.microseconds(median(found["run_secs"]) * 1e6)
    return f"it builds, runs ({took}) and computes what it should, on {found['machine']}"


def _table(failures: Iterable[FailureOut]) -> Table:
    """Candidates that failed, a line for each kind and its last few."""
    table = plain_table("what became of it", ">candidates", "kernel", "=candidate", "error")
    for kind in failures:
        table.add_row(kind_in_words(kind.error_class), f"{kind.count:,}", ", ".join(map(escape, kind.kernels)), "", "")
        for one in kind.latest:
            table.add_row("", "", escape(one.kernel), one.candidate, escape(one.error), style="dim")
    return table
