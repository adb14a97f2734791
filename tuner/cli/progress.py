"""A job as it runs: a live bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from tuner.cli.words import duration, milliseconds, state_line
from tuner.jobs.eta import time_left
from tuner.schemas import JobOut

PLAIN_SEC = 10.0  # between two lines that say the same with other numbers


def watch(jobs: Iterable[JobOut], console: Console, clock: Callable[[], float] = time.monotonic) -> JobOut:
    """Shows each state of a job as it comes and returns the last one."""
    return _live(jobs, console, clock) if console.is_terminal else _plain(jobs, console, clock)


def transfer_bar(console: Console) -> Progress:
    """A bar for bytes on their way; nothing where there is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _live(jobs: Iterable[JobOut], console: Console, clock: Callable[[], float]) -> JobOut:
    columns = (
        SpinnerColumn(),
        TextColumn("[bold]{task.fields[state]}"),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[facts]}"),
    )
    last, entered_at = None, clock()
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("job", total=1.0, state="", facts="")
        for job in jobs:
            if last is not None and _step(job) != _step(last):
                took = duration(clock() - entered_at)
                progress.console.print(
                    f"[green]✓[/] {escape(last.message or last.state)}  [dim]{took}[/]", highlight=False
                )
                entered_at = clock()
            progress.update(bar, completed=job.progress, state=job.state, facts=_facts(job))
            last = job
    return _ended(last)


def _plain(jobs: Iterable[JobOut], console: Console, clock: Callable[[], float]) -> JobOut:
    last, printed_at = None, clock()
    for job in jobs:
        news = last is None or _step(job) != _step(last)
        if news or clock() - printed_at >= PLAIN_SEC:
            console.print(state_line(job), highlight=False, markup=False, soft_wrap=True)
            printed_at = clock()
        last = job
    return _ended(last)


def _step(job: JobOut) -> tuple[str, str]:
    """What a job is at, without numbers: "round 3 of 10" is the same step as "round 2 of 10"."""
    return job.state, re.sub(r"\d+", "", job.message)


def _facts(job: JobOut) -> str:
    facts = []
    if job.trials:
        facts.append(f"{job.trials:,}/{job.budget.trials:,} trials")
    if job.trials_per_sec:
        facts.append(f"{job.trials_per_sec:.1f}/s")
    if job.predicted_ms is not None:
        facts.append(f"best [green]{milliseconds(job.predicted_ms)}[/]")
    if left := time_left(job):
        facts.append(left)
    if job.message and job.message != job.state:
        facts.append(f"[dim]{escape(job.message)}[/]")
    return "  ".join(facts)


def _ended(job: JobOut | None) -> JobOut:
    assert job is not None, "a followed job has at least its present state"
    return job
