"""``python -m benchmarks.memory``: memory of all the service's processes over a job, and its growth over many trials.

The growth part goes on where it was: samples are appended, and while the service is kept running
(``tunesmith serve --data-dir .tunesmith/memory``) the curve is one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from benchmarks import report, service_jobs
from benchmarks.resident import Sample, Sampler, growth_per_1000_trials, load
from rpc.facts import device_facts
from tuner.cli.common import console, notes, run_app, settings_with
from tuner.cli.local_service import local_service
from tuner.cli.words import size
from tuner.client.http import Client
from tuner.schemas import BudgetIn

GOAL_BYTES = 6 * 2**30
MAX_JOBS = 1000  # of a service, that are counted
SMALL_MODEL, SMALL_SEQ_LEN, SMALL_TRIALS = "minilm-l6", 32, 250  # one job of the growth part


def main(
    model: Annotated[str, typer.Option(help="Whose job is watched; empty: none, growth only.")] = "bert-base-uncased",
    batch: Annotated[int, typer.Option(help="Batch size.")] = 1,
    seq_len: Annotated[int, typer.Option("--seq", help="Sequence length.")] = 128,
    trials: Annotated[int | None, typer.Option(help="Budget of that job in candidates; else the express one.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Budget of that job in minutes.")] = None,
    growth: Annotated[int, typer.Option(help="Then measure this many candidates of small kernels, in jobs.")] = 0,
    data_dir: Annotated[Path, typer.Option(help="The service's data.")] = Path(".tunesmith") / "memory",
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget the samples of earlier runs.")] = False,
) -> None:
    """Watch a service at work; writes benchmarks/out/memory.json and a plot."""
    settings = settings_with(data_dir=data_dir)
    files = {name: report.OUT / f"memory-{name}.jsonl" for name in ("job", "growth")}
    if fresh:
        for file in files.values():
            file.unlink(missing_ok=True)
    with local_service(settings) as client:
        if model:
            files["job"].unlink(missing_ok=True)
            with Sampler(settings.run_file, lambda: _trials(client), files["job"]):
                wish = service_jobs.budget(trials, minutes)
                service_jobs.finish(
                    client, service_jobs.submit(client, model, wish, batch=batch, seq_len=seq_len, cold=True)
                )
        if growth:
            _grow(client, settings.run_file, files["growth"], growth)
    found = {name: samples for name, file in files.items() if (samples := load(file))}
    facts = report.circumstances(device_facts()["cpu"])
    body = summary(found)
    path = report.save("memory", {**body, "model": model, "batch": batch, "seq": seq_len, **facts})
    for name, samples in found.items():
        plot(name, samples, report.OUT / f"memory-{name}")
    console.print(table(body, found))
    console.print(f"written to {report.shown(path)}, samples and plots beside it", style="dim", soft_wrap=True)


def summary(found: dict[str, list[Sample]]) -> dict[str, Any]:
    """Peak of the job, growth per 1000 trials, each with what it is based on; bytes."""
    body: dict[str, Any] = {"goal_bytes": GOAL_BYTES}
    if job := found.get("job"):
        top = max(job, key=lambda sample: sample.total)
        body |= {"peak_bytes": top.total, "peak_parts": top.parts, "job_trials": _measured(job)}
    if growth := found.get("growth"):
        body |= {
            "growth_bytes_per_1000_trials": growth_per_1000_trials(growth),
            "growth_trials": _measured(growth),
            "growth_peak_bytes": max(sample.total for sample in growth),
        }
    return body


def table(body: dict[str, Any], found: dict[str, list[Sample]]) -> Table:
    """What people want to know."""
    rows = Table(show_header=False)
    rows.add_column()
    rows.add_column(justify="right")
    if "job" in found:
        rows.add_row(f"peak, {body['job_trials']} trials (goal: under {size(GOAL_BYTES)})", size(body["peak_bytes"]))
        for part, held in sorted(body["peak_parts"].items(), key=lambda item: -item[1]):
            rows.add_row(f"  {part}", size(held), style="dim")
    if "growth" in found:
        slope = body["growth_bytes_per_1000_trials"]
        shown = "too few trials to tell" if slope is None else f"{slope / 1e6:+.1f} MB"
        rows.add_row(f"growth per 1000 trials, over {body['growth_trials']}", shown)
    return rows


def plot(name: str, samples: list[Sample], path: Path) -> None:
    """Total memory over time (a job) or trials (growth), stacked by part, as ``path`` .svg and .png."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(9, 4))
    parts = sorted({part for sample in samples for part in sample.parts})
    if name == "job":
        held = [[sample.parts.get(part, 0) / 2**30 for sample in samples] for part in parts]
        axis.stackplot([sample.t_sec for sample in samples], held, labels=parts)
        axis.axhline(GOAL_BYTES / 2**30, color="#6b7280", linestyle=":", linewidth=1)
        axis.set_xlabel("seconds")
        axis.legend(frameon=False, ncols=3)
    else:
        for run in sorted({sample.run for sample in samples}):
            chosen = [sample for sample in samples if sample.run == run]
            axis.plot(
                [s.trials - chosen[0].trials for s in chosen], [s.total / 2**30 for s in chosen], linewidth=1, label=run
            )
        axis.set_xlabel("trials since it was watched first")
    axis.set_ylabel("resident, GiB")
    axis.set_ylim(bottom=0)
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    for suffix in (".svg", ".png"):
        figure.savefig(path.with_suffix(suffix), dpi=130)
    pyplot.close(figure)


def _grow(client: Client, run_file: Path, target: Path, trials: int) -> None:
    before = _trials(client)
    with Sampler(run_file, lambda: _trials(client), target):
        while (done := _trials(client) - before) < trials:
            notes.print(f"{done} of {trials} trials", highlight=False)
            wish = BudgetIn(trials=min(SMALL_TRIALS, trials - done))
            job = service_jobs.submit(client, SMALL_MODEL, wish, batch=1, seq_len=SMALL_SEQ_LEN, cold=True)
            service_jobs.finish(client, job)


def _trials(client: Client) -> int:
    """Candidates that all jobs of the service have measured."""
    return sum(job.trials for job in client.jobs(limit=MAX_JOBS).items)


def _measured(samples: list[Sample]) -> int:
    """Trials of all runs together."""
    by_run: dict[str, list[int]] = {}
    for sample in samples:
        by_run.setdefault(sample.run, []).append(sample.trials)
    return sum(max(trials) - min(trials) for trials in by_run.values())


if __name__ == "__main__":
    run_app(lambda: typer.run(main))
