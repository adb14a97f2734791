"""Commands about jobs: submit, look, follow, steer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tuner.bench.against import named
from tuner.cli import tables, words
from tuner.cli.common import (
    BatchOption,
    HeadOption,
    JsonOption,
    MaxDropOption,
    SeqLenOption,
    StrategyOption,
    UrlOption,
    WishedPrecisionOption,
    checked,
    connected,
    console,
    notes,
    part,
    print_json,
)
from tuner.cli.failures import print_failures
from tuner.cli.kernels import Form, GraphForm, kernel_named, print_graph, print_kernel
from tuner.cli.progress import watch
from tuner.cli.records import RecordsOption, log_content, say_imported
from tuner.cli.sending import seen_there
from tuner.cli.text_file import sampled, texts_in, token_counts
from tuner.client.http import Client
from tuner.schemas import BenchmarkOut, BudgetIn, JobIn, JobOut

JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Id of the job, as `tunesmith jobs` shows it.")]
INTERRUPTED = 130  # exit code of a command that Ctrl-C ended, as shells have it


def tune(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Preset, hub id, folder, file, or upload:NAME.")],
    target: Annotated[str, typer.Option(help="What to compile for; `tunesmith targets` lists them.")] = "local",
    express: Annotated[bool, typer.Option("--express", help="Budget of ten minutes (the default).")] = False,
    full: Annotated[bool, typer.Option("--full", help="Budget for the best result.")] = False,
    trials: Annotated[int | None, typer.Option(help="Budget in measured candidates.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Budget in minutes of tuning.")] = None,
    batch: BatchOption = None,
    seq_len: SeqLenOption = None,
    lengths: Annotated[
        str | None,
        typer.Option(help="For texts in any batch, of these lengths in tokens: 4:256, or mix."),
    ] = None,
    texts: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="The same, lengths as in this file; it judges precision, too."),
    ] = None,
    precision: WishedPrecisionOption = "fp32",
    max_drop: MaxDropOption = None,
    against: Annotated[
        str | None,
        typer.Option(help="Rivals to time beside, with commas between: torch,onnxruntime,openvino-int8,FILE.onnx."),
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="Tune these kernels only: names with commas between; * stands for any letters.")
    ] = None,
    skip: Annotated[str | None, typer.Option(help="Tune all kernels but these.")] = None,
    repeat: Annotated[int | None, typer.Option(help="Times each candidate is timed, 1 to 50.")] = None,
    min_repeat_ms: Annotated[int | None, typer.Option(help="Each time for so long at least, 0 to 1000 ms.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds of the comparison, 6 to 50.")] = None,
    strategy: StrategyOption = "auto",
    timeout_sec: Annotated[
        int | None, typer.Option(help="Longest build of a candidate, and session that times some, 1 to 300 s.")
    ] = None,
    records: RecordsOption = None,
    cold: Annotated[bool, typer.Option("--cold", help="Ignore records that are already known.")] = False,
    compile_only: Annotated[
        bool, typer.Option("--compile-only", help="From known records and default schedules; needs no device.")
    ] = False,
    priority: Annotated[int, typer.Option(help="Higher goes first; -100 to 100.")] = 0,
    head: HeadOption = None,
    allow_pickle: Annotated[bool, typer.Option("--allow-pickle", help="Trust weights that can run code.")] = False,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Show progress until it ends.")] = False,
    as_json: JsonOption = False,
    url: UrlOption = None,
) -> None:
    """Tune a model: submits a job."""
    if express and full:
        raise typer.BadParameter("--express and --full exclude each other")
    preset: Literal["express", "full"] | None = "express" if express else "full" if full else None
    wish = {
        "model": model,
        "target": target,
        "budget": BudgetIn(preset=preset, trials=trials, minutes=minutes),
        "batch": batch,
        "seq_len": seq_len,
        "lengths": lengths,
        "text_lengths": token_counts(texts) if texts else None,
        "precision": precision,
        "max_drop": part(max_drop),
        "judged_on": sampled(texts_in(texts)) if texts and precision != "fp32" else None,
        "against": named(against or ""),
        "only": named(only or ""),
        "skip": named(skip or ""),
        "repeat": repeat,
        "min_repeat_ms": min_repeat_ms,
        "rounds": rounds,
        "strategy": strategy,
        "timeout_sec": timeout_sec,
        "cold": cold,
        "compile_only": compile_only,
        "priority": priority,
        "head": head,
        "allow_pickle": allow_pickle,
    }
    with connected(url) as client:
        checked(JobIn, wish)  # before anything is sent
        if records:
            say_imported(client.import_records(records.name, log_content(records)))
        rivals = [seen_there(client, one, allow_pickle=False) for one in checked(JobIn, wish).against]
        there = {"model": seen_there(client, model, allow_pickle), "against": rivals}
        job = client.submit(checked(JobIn, wish | there))
        notes.print(f"submitted {job.id}: {job.model}, {words.shape(job)}, {words.budget(job)}", highlight=False)
        if follow:
            follow_and_show(client, job.id, as_json)
        elif as_json:
            print_json(job)
        else:
            notes.print(f"follow it with: tunesmith follow {job.id}", highlight=False)


def jobs(
    state: Annotated[str | None, typer.Option(help="Only jobs in this state.")] = None,
    model: Annotated[str | None, typer.Option(help="Only jobs of this model.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    as_json: JsonOption = False,
    url: UrlOption = None,
) -> None:
    """List jobs, the newest first."""
    with connected(url) as client:
        page = client.jobs(state=state, model=model, limit=limit)
    if as_json:
        print_json(page)
    elif page.items:
        console.print(tables.jobs_table(page.items, console.width))
        if page.total > len(page.items):
            notes.print(f"{page.total - len(page.items)} more; see them with --limit", style="dim")
    else:
        none = "no such job" if state or model else "no jobs"
        notes.print(f"{none}; start one with: tunesmith tune bert-base-uncased --express --follow", highlight=False)


def show(
    job_id: JobArgument,
    kernels: Annotated[bool, typer.Option("--kernels", help="Only its kernels, and how each was chosen.")] = False,
    failures: Annotated[bool, typer.Option("--failures", help="Only its candidates that failed, by kind.")] = False,
    kernel: Annotated[str | None, typer.Option("--kernel", help="Only this kernel, by name or id.")] = None,
    candidate: Annotated[str | None, typer.Option("--candidate", help="Only this candidate, by its id.")] = None,
    tir: Annotated[bool, typer.Option("--tir", help="Of one: what is built (the default).")] = False,
    schedule: Annotated[bool, typer.Option("--schedule", help="Of one: the steps of its schedule.")] = False,
    code: Annotated[bool, typer.Option("--code", help="Of one: LLVM's code, or a GPU's source.")] = False,
    asm: Annotated[bool, typer.Option("--asm", help="Of one: its assembly.")] = False,
    graph: Annotated[GraphForm | None, typer.Option(help="Of --kernel: the graph around it.")] = None,
    as_json: JsonOption = False,
    url: UrlOption = None,
) -> None:
    """Show a job, its workloads and its comparison."""
    forms: dict[Form, bool] = {"tir": tir, "schedule": schedule, "code": code, "asm": asm}
    wished = [name for name, is_wished in forms.items() if is_wished]
    if (wished or graph) and ((kernel is None and candidate is None) or len(wished) + bool(graph) > 1):
        raise typer.BadParameter("--tir, --schedule, --code, --asm and --graph go with --kernel NAME, one at a time")
    with connected(url) as client:
        if failures:
            return print_failures(client, job_id, as_json)
        if kernel is not None or candidate is not None:
            one = client.candidate(job_id, candidate) if candidate else kernel_named(client, job_id, kernel or "")
            if graph:
                return print_graph(client, client.job(job_id), one, graph)
            return print_json(one) if as_json else print_kernel(one, *wished)
        if kernels:
            found = client.workloads(job_id)
            if as_json:
                return print_json(found)
            return console.print(tables.kernels_table(found, console.width))
        job = client.job(job_id)
        if as_json:
            return print_json(job)
        show_job(client, job)
        workloads = client.workloads(job_id)
    if workloads:
        console.print()
        console.print(tables.workloads_table(workloads, console.width))


def show_job(client: Client, job: JobOut) -> list[BenchmarkOut]:
    """Prints a job and, once there is one, its comparison with PyTorch, which it returns."""
    console.print(tables.job_table(job))
    benchmarks = client.benchmarks(job.id)
    if benchmarks:
        console.print()
        console.print(tables.benchmarks_table(benchmarks, job.absent))
        for name, reason in job.absent.items():
            console.print(f"{name}: {reason}", style="dim", highlight=False, markup=False)
        if any(one.load_ms is not None for one in benchmarks):
            console.print()
            console.print(tables.costs_table(benchmarks))
        tuned = next((one for one in benchmarks if one.variant == "tuned"), None)
        if tuned and tuned.mean_ms is not None and tuned.std_ms is not None:
            console.print(words.mean_time(tuned.mean_ms, tuned.std_ms), highlight=False)
        console.print(words.how_compared(benchmarks), style="dim")
    if job.artifact_id:
        manifest = client.evidence(job.id)
        said = [words.brought(manifest)]
        if job.compile_only or job.kind == "operator":
            said.append(words.compiled(manifest) if job.compile_only else words.of_peak(manifest))
        for lines in filter(None, said):
            console.print(lines, style="dim", highlight=False, markup=False)
    return benchmarks


def follow(job_id: JobArgument, as_json: JsonOption = False, url: UrlOption = None) -> None:
    """Show a job's progress until it ends; Ctrl-C leaves it running."""
    with connected(url) as client:
        follow_and_show(client, job_id, as_json)


def cancel(job_id: JobArgument, as_json: JsonOption = False, url: UrlOption = None) -> None:
    """End a job; what it measured is kept."""
    with connected(url) as client:
        _say(client.cancel(job_id), as_json)


def pause(job_id: JobArgument, as_json: JsonOption = False, url: UrlOption = None) -> None:
    """Let a tuning job wait after its present round."""
    with connected(url) as client:
        _say(client.pause(job_id), as_json)


def resume(job_id: JobArgument, as_json: JsonOption = False, url: UrlOption = None) -> None:
    """Let a paused job go on."""
    with connected(url) as client:
        _say(client.resume(job_id), as_json)


def delete(job_id: JobArgument, url: UrlOption = None) -> None:
    """Delete a job that has ended; its records are kept."""
    with connected(url) as client:
        client.delete(job_id)
    notes.print(f"deleted {job_id}", highlight=False)


def _follow_to_end(client: Client, job_id: str) -> JobOut:
    try:
        return watch(client.progress(job_id), notes)
    except KeyboardInterrupt:
        notes.print(f"detached; {job_id} goes on", highlight=False)
        notes.print(f"  see it again: tunesmith follow {job_id}", highlight=False)
        notes.print(f"  end it:       tunesmith cancel {job_id}", highlight=False)
        raise typer.Exit(INTERRUPTED) from None


def follow_and_show(client: Client, job_id: str, as_json: bool) -> None:
    """Shows a job's progress until it ends, then what came of it; exit code 1 unless it succeeded."""
    job = _follow_to_end(client, job_id)
    if as_json:
        print_json(job)
    else:
        benchmarks = show_job(client, job)
        console.print()
        console.print(words.verdict(job, benchmarks), style="bold", highlight=False, markup=False)
        if job.artifact_id:
            notes.print(f"get it with: tunesmith download {job.id}", highlight=False)
        elif job.error and job.error.hint:
            notes.print(f"hint: {job.error.hint}", highlight=False, markup=False)
    if job.state != "succeeded":
        raise typer.Exit(1)


def _say(job: JobOut, as_json: bool) -> None:
    if as_json:
        print_json(job)
    else:
        notes.print(f"{job.id} is {job.state}{words.granted(job)}", highlight=False)
