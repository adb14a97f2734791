"""``python -m benchmarks.repeat``: does the same job end at the same latency, and was its prediction true?

Each job starts cold. Its module is then timed beside those of the others, interleaved in one process, so that what
differs is the search and not the minute.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from benchmarks import report, service_jobs
from rpc.facts import physical_cores
from tuner.bench.launch import run_benchmark
from tuner.bench.spec import Result, Spec, Variant
from tuner.cli.common import console, notes, run_app, settings_with
from tuner.cli.local_service import local_service
from tuner.cli.words import milliseconds
from tuner.importers.snapshot import borrowed
from tuner.importers.source import resolve_source
from tuner.schemas import JobOut

SAME_WITHIN, PREDICTED_WITHIN = 0.03, 0.05


def main(
    model: Annotated[str, typer.Option(help="Preset, hub id or folder.")] = "bert-base-uncased",
    batch: Annotated[int, typer.Option(help="Batch size.")] = 1,
    seq_len: Annotated[int, typer.Option("--seq", help="Sequence length.")] = 128,
    trials: Annotated[int | None, typer.Option(help="Budget in candidates; else the express one.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Budget in minutes of tuning.")] = None,
    times: Annotated[int, typer.Option(min=2, help="How often.")] = 2,
    data_dir: Annotated[Path, typer.Option(help="The service's data.")] = service_jobs.DATA_DIR,
) -> None:
    """Run the same cold job several times; writes benchmarks/out/repeat.json."""
    settings = settings_with(data_dir=data_dir)
    wish = service_jobs.budget(trials, minutes)
    with local_service(settings) as client:
        jobs = [
            service_jobs.finish(
                client, service_jobs.submit(client, model, wish, batch=batch, seq_len=seq_len, cold=True)
            )
            for _ in range(times)
        ]
    with borrowed(resolve_source(model), report.OUT / "sources") as fetched:
        spec = Spec(
            source=fetched.source,
            folder=fetched.folder,
            batch=batch,
            seq_len=seq_len,
            threads=settings.device_threads or physical_cores(),
            rounds=20,
            variants=[
                Variant(name=job.id, kind="tvm", path=str(service_jobs.artifact_of(settings, job))) for job in jobs
            ],
        )
        with notes.status("timing the modules side by side"):
            result = run_benchmark(spec, report.OUT / "race")
    facts = report.circumstances(result.machine)
    body = compared(jobs, result)
    path = report.save("repeat", {**body, "model": model, "batch": batch, "seq": seq_len, **facts})
    console.print(table(body))
    console.print(report.footer(facts), style="dim", soft_wrap=True)
    console.print(f"written to {report.shown(path)}", style="dim", soft_wrap=True)


def compared(jobs: list[JobOut], result: Result) -> dict[str, Any]:
    """What each job predicted and measured (ms), how far the jobs are apart, and the worst prediction, as parts of one.

    ``spread`` is (slowest - fastest) / fastest side by side; ``prediction_error`` the largest
    ``|predicted - measured| / measured``, with what the job itself measured a minute after it predicted: a machine's
    speed drifts over a quarter of an hour.
    """
    medians = {timing.variant: timing.median_ms for timing in result.timings}
    rows = [
        {
            "job": job.id,
            "trials": job.trials,
            "tuning_sec": job.tuning_sec,
            "predicted_ms": job.predicted_ms,
            "job_ms": job.latency_ms,
            "measured_ms": medians[job.id],
            "prediction_error": _error(job),
        }
        for job in jobs
    ]
    fastest, slowest = min(medians.values()), max(medians.values())
    worst = max(abs(_error(job)) for job in jobs)
    return {"spread": slowest / fastest - 1, "prediction_error": worst, "jobs": rows}


def _error(job: JobOut) -> float:
    """How far a job's prediction was from what it measured, as a part of that."""
    assert job.predicted_ms is not None
    assert job.latency_ms is not None
    return job.predicted_ms / job.latency_ms - 1


def table(body: dict[str, Any]) -> Table:
    """A line per job; the title says whether both promises are kept."""
    promises = {
        f"apart {body['spread']:.1%} (goal: {SAME_WITHIN:.0%})": body["spread"] <= SAME_WITHIN,
        f"predictions off by {body['prediction_error']:.1%} (goal: {PREDICTED_WITHIN:.0%})": (
            body["prediction_error"] <= PREDICTED_WITHIN
        ),
    }
    title = ", ".join(f"[{'green' if kept else 'red'}]{text}[/]" for text, kept in promises.items())
    found = Table(title=title, header_style="bold")
    found.add_column("job")
    for name in ("trials", "predicted", "measured by the job", "measured side by side", "prediction"):
        found.add_column(name, justify="right")
    for row in body["jobs"]:
        times = (milliseconds(row[name]) for name in ("predicted_ms", "job_ms", "measured_ms"))
        found.add_row(row["job"], str(row["trials"]), *times, f"{row['prediction_error']:+.1%}")
    return found


if __name__ == "__main__":
    run_app(lambda: typer.run(main))
