"""``tunesmith compare``: finished jobs side by side, and, if asked, their modules timed in turns here."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from tuner.apart import Limits, answered
from tuner.bench.rivals import SIGNIFICANT, chance
from tuner.bench.spec import Result, Timing
from tuner.cli import words
from tuner.cli.common import JsonOption, UrlOption, connected, console, notes, print_json, settings_with
from tuner.cli.quietly import quiet
from tuner.cli.tables import benchmarks_table, plain_table
from tuner.client.download import download, wanted
from tuner.client.http import Client
from tuner.errors import StageFailed
from tuner.importers.operators.files import label
from tuner.schemas import JobBeside, JobsCompared

_LIMITS = Limits(seconds=900.0, memory_bytes=16 * 2**30)
_ROUNDS = 10


class _Told(JobsCompared):
    timed: list[Timing] | None  # in turns here, by the ids of the jobs


def compare(
    jobs: Annotated[list[str], typer.Argument(metavar="JOB JOB...", help="Two to eight jobs that succeeded.")],
    timed: Annotated[bool, typer.Option("--timed", help="Run their modules in turns here, now.")] = False,
    rounds: Annotated[int, typer.Option(min=6, max=50, help="Of --timed.")] = _ROUNDS,
    as_json: JsonOption = False,
    url: UrlOption = None,
) -> None:
    """Show finished jobs side by side."""
    with connected(url) as client:
        found = client.compare(jobs)
        result = _timed(client, found.jobs, rounds) if timed else None
    if as_json:
        return print_json(_Told(**found.model_dump(), timed=result.timings if result else None))
    console.print(_table(found.jobs))
    for caution in found.cautions:
        console.print(caution, style="yellow", highlight=False, markup=False)
    if result:
        console.print()
        console.print(benchmarks_table(result.timings, of="=job"))
        console.print(verdict(result), highlight=False)
        console.print(f"in turns, in one process, {result.threads} threads, {result.machine}", style="dim")
    elif found.cautions:
        notes.print("time them in one run, in turns: add --timed", style="dim")


def _timed(client: Client, found: Sequence[JobBeside], rounds: int) -> Result:
    def blamed(end: str) -> StageFailed:
        return StageFailed(f"The modules could not be timed: {end}.", "Leave out the one that it died of.")

    with tempfile.TemporaryDirectory(prefix="tunesmith-") as scratch:
        paths = {}
        for one in found:
            file = wanted(client.artifact(one.artifact_id))
            with notes.status(f"fetching {one.job_id}"):
                paths[one.job_id] = str(download(client, file, Path(scratch) / f"{one.job_id}.tar", lambda done: None))
        with quiet(settings_with(), lambda line: notes.print(line, highlight=False)), notes.status("timing"):
            return Result.model_validate(answered("tuner.bench.in_turns_worker", (paths, rounds), _LIMITS, blamed))


def verdict(result: Result) -> str:
    """Who is the fastest, and is that more than chance?"""
    first, second, *_ = sorted(result.timings, key=lambda one: one.median_ms)
    times = f"{second.median_ms / first.median_ms:.2f}x as fast as {second.variant}"
    if chance(first.rounds_ms, second.rounds_ms) > SIGNIFICANT:
        return f"{first.variant} is {times}: the difference may be chance"
    return f"{first.variant} is {times}"


def _table(found: Sequence[JobBeside]) -> Table:
    """A column for each job."""
    table = plain_table("=job", *(one.job_id for one in found))
    rows = {
        "model": [escape(label(one.model)) for one in found],
        "weights": [one.weights for one in found],
        "target": [escape(one.target) for one in found],
        "batch x seq": [one.shape or words.DASH for one in found],
        "computed in": [one.precision for one in found],
        "median": [words.milliseconds(one.median_ms) for one in found],
        "p10": [words.milliseconds(one.p10_ms) for one in found],
        "p90": [words.milliseconds(one.p90_ms) for one in found],
        "mean (std dev)": [words.mean(one.mean_ms, one.std_ms) for one in found],
        "PyTorch": [words.milliseconds(one.baseline_ms) for one in found],
        "GFLOPS": [words.gflops(one.gflops) for one in found],
        "speedup": [f"{one.speedup:.2f}x" if one.speedup else words.DASH for one in found],
        "off by": [words.DASH if one.max_abs_error is None else f"{one.max_abs_error:.1e}" for one in found],
        "cosine to fp32": [words.DASH if one.cosine is None else f"{one.cosine:.5f}" for one in found],
        "size": [words.size(one.size_bytes) for one in found],
        "ended": [f"{one.finished_at:%Y-%m-%d %H:%M}" if one.finished_at else words.DASH for one in found],
        "on": [escape(one.machine or words.DASH) for one in found],
    }
    for name, values in rows.items():
        if set(values) != {words.DASH}:
            table.add_row(name, *values)
    return table
