"""``tunesmith demo``: the whole way from a model's name to a faster module, on this machine, as one command."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from tuner.cli import tables, words
from tuner.cli.artifacts import fetch_artifact
from tuner.cli.common import checked, console, notes, program, settings_with
from tuner.cli.jobs import INTERRUPTED
from tuner.cli.local_service import local_service
from tuner.cli.progress import watch
from tuner.cli.sending import absolute_if_folder
from tuner.client.http import Client
from tuner.config import Settings
from tuner.errors import StageFailed
from tuner.schemas import BudgetIn, JobIn, JobOut

BATCH, SEQ_LEN = 1, 128  # as everybody compares BERTs
DEMO_DIR = Path(".tunesmith") / "demo"


def demo(
    model: Annotated[str, typer.Option(help="Preset, hub id or folder.")] = "bert-base-uncased",
    trials: Annotated[int | None, typer.Option(help="Budget in measured candidates; else the express budget.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Budget in minutes of tuning; else the express budget.")] = None,
    cold: Annotated[bool, typer.Option("--cold", help="Ignore the records that come with TuneSmith.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Keep the dashboard up until Ctrl-C.")] = True,
) -> None:
    """Tune a BERT on this machine and compare it with PyTorch."""
    data_dir = None if "TUNER_DATA_DIR" in os.environ else DEMO_DIR
    settings = settings_with(data_dir=data_dir)
    preset = "express" if trials is None and minutes is None else None
    wish = {
        "model": absolute_if_folder(model),
        "budget": BudgetIn(preset=preset, trials=trials, minutes=minutes),
        "batch": BATCH,
        "seq_len": SEQ_LEN,
        "cold": cold,
    }
    with local_service(settings) as client:
        notes.print(f"dashboard: {client.page_url()}", highlight=False, markup=False, soft_wrap=True)
        _say_where_it_starts(client, cold)
        job = client.submit(checked(JobIn, wish))
        notes.print(
            f"{job.id}: {job.model}, batch x seq {words.shape(job)}, {words.budget(job)}; "
            f"details: {client.page_url(f'/jobs/{job.id}')}",
            highlight=False,
            soft_wrap=True,
        )
        started_at = time.monotonic()
        job = _watched(client, job)
        if job.state != "succeeded":
            raise _failure(job)
        _show_result(client, job, time.monotonic() - started_at, settings)
        if wait and sys.stdin.isatty():
            notes.print()
            notes.print(f"the dashboard stays at {client.url}; Ctrl-C ends the service", highlight=False)
            _until_interrupted()


def _watched(client: Client, job: JobOut) -> JobOut:
    try:
        return watch(client.progress(job.id), notes)
    except KeyboardInterrupt:
        client.cancel(job.id)
        notes.print("stopped; what was measured is kept, the next run starts from it")
        raise typer.Exit(INTERRUPTED) from None


def _say_where_it_starts(client: Client, cold: bool) -> None:
    known = client.records(limit=1).total
    if known and cold:
        notes.print(f"ignoring {known:,} records that are known already", highlight=False)
    elif known:
        notes.print(f"starting from {known:,} records that are known already where they fit; --cold ignores them")


def _show_result(client: Client, job: JobOut, seconds: float, settings: Settings) -> None:
    artifact = client.artifact_of(job.id)
    path = fetch_artifact(client, artifact, settings.root / f"{job.model.split('/')[-1]}.tar")
    benchmarks = client.benchmarks(job.id)
    console.print()
    console.print(tables.benchmarks_table(benchmarks))
    if benchmarks:
        console.print(words.how_compared(benchmarks), style="dim")
    console.print()
    console.print(words.verdict(job, benchmarks), style="bold green", highlight=False, markup=False)
    console.print(f"{job.trials:,} candidates measured, {words.duration(seconds)} in all", highlight=False)
    facts = {
        "artifact": f"{path} ({words.size(artifact.size_bytes)})",
        "run it": f"{program()} run {path}",
        "dashboard": client.page_url(f"/jobs/{job.id}"),
        "later": f"{program()} serve --data-dir {settings.root}",
    }
    for name, value in facts.items():
        console.print(f"{name:10} {value}", highlight=False, markup=False, soft_wrap=True)


def _failure(job: JobOut) -> StageFailed:
    if job.error is None:
        return StageFailed(f"{job.id} was {job.state}.", "Start again: tunesmith demo")
    return StageFailed(job.error.message, job.error.hint)


def _until_interrupted() -> None:
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        notes.print("")
