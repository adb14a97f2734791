"""``python -m benchmarks.zero_trial``: how near the first compile, without any record or device, is to a tuned one.

Each model is compiled without records and timed beside the tuned one and ONNX Runtime, interleaved. ``--replay FAMILY``
looks the first guesses up in the shipped logs of a machine that is not here; ``--static TARGET`` counts what the inner
loops of the guessed products ask of a core (``inner_loops.py``), for any target, as nothing runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import geometric_mean
from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from benchmarks import report, service_jobs, zero_gpu, zero_kernels
from benchmarks.latency import Case, run_all, timed
from rpc.drafts import draft
from rpc.facts import cpu_model, device_facts
from tuner.cli.common import console, run_app, settings_with
from tuner.cli.local_service import local_service
from tuner.config import Settings
from tuner.importers.snapshot import borrowed
from tuner.importers.source import resolve_source
from tuner.targets import presets

MODELS = "minilm-l6,distilbert-base-uncased,bert-base-uncased"
SHAPES = "1x128,8x32"
FIRST, TUNED = "first", "tuned"
PEER: Literal["onnxruntime"] = "onnxruntime"


def main(
    models: Annotated[str, typer.Option(help="With commas between.")] = MODELS,
    shapes: Annotated[str, typer.Option(help="Batch and sequence length of each.")] = SHAPES,
    trials: Annotated[int, typer.Option(help="Budget of a tuned one, in candidates.")] = 200,
    tune: Annotated[bool, typer.Option("--tune/--no-tune", help="Or compile the tuned one from records alone.")] = True,
    max_sec: Annotated[float, typer.Option(min=1, help="Seconds of timing a case.")] = 30.0,
    replay: Annotated[str, typer.Option(metavar="FAMILY", help="Look guesses up in this family's shipped logs.")] = "",
    static: Annotated[str, typer.Option(metavar="TARGET", help="Count in the inner loops for this target.")] = "",
    data_dir: Annotated[Path, typer.Option(help="The service's data; records and artifacts are kept there.")] = (
        service_jobs.DATA_DIR
    ),
) -> None:
    """Time first compiles; writes benchmarks/out/zero_trial.json, a list with an entry a case."""
    settings = settings_with(data_dir=data_dir)
    if replay:
        console.print(zero_kernels.replayed_table(zero_kernels.replayed(settings, replay)))
        return
    if static:
        target = presets.resolve(static, settings.device_key, device_facts())
        model, shape = models.split(",")[-1], shapes.split(",")[0]
        if target.tvm["kind"] == "metal":
            console.print(zero_gpu.table(zero_gpu.counted(settings, case_of(model, shape), target), target))
            return
        console.print(zero_kernels.static_table(zero_kernels.counted(settings, case_of(model, shape), target), target))
        return
    facts = report.circumstances(cpu_model())
    cases = [case_of(*one) for one in itertools.product(models.split(","), shapes.split(","))]
    artifacts = {case: _tuned(settings, case, trials) if tune else _compiled(settings, case, TUNED) for case in cases}

    def run(case: Case) -> dict[str, Any]:
        return entry(case, _timed(settings, case, artifacts[case], max_sec))

    found, _ = run_all(cases, run, lambda done: report.save("zero_trial", done))
    if found:
        console.print(table(found))
        console.print(report.footer(facts), style="dim", soft_wrap=True)


def case_of(model: str, shape: str) -> Case:
    """A case of ``BATCHxLENGTH``."""
    batch, _, seq_len = shape.partition("x")
    return Case(model, int(batch), int(seq_len))


def entry(case: Case, medians: dict[str, float]) -> dict[str, Any]:
    """One case of the report: medians in ms."""
    about = {"model": case.model, "batch": case.batch, "seq": case.seq_len}
    return about | {f"{name}_ms": round(medians[name], 3) for name in (FIRST, TUNED, PEER)}


def table(found: Sequence[dict[str, Any]]) -> Table:
    """A line a case, and the geometric mean of what a first compile takes of a tuned one's time."""
    ratios = [one["first_ms"] / one["tuned_ms"] for one in found]
    mean = geometric_mean(ratios)
    lines = Table(title=f"median ms; first / tuned in the geometric mean {mean:.3f}", title_style="dim")
    for name in ("model", "batch x seq", "first", "tuned", "ORT", "first / tuned"):
        lines.add_column(name, justify="left" if name == "model" else "right")
    for one, ratio in zip(found, ratios, strict=True):
        times = [f"{one[f'{name}_ms']:.3g}" for name in (FIRST, TUNED, PEER)]
        lines.add_row(one["model"], f"{one['batch']} x {one['seq']}", *times, f"{ratio:.2f}")
    return lines


def _tuned(settings: Settings, case: Case, trials: int) -> Path:
    with local_service(settings) as client:
        job = service_jobs.submit(client, **asdict(case), wish=service_jobs.budget(trials, None))
        return service_jobs.artifact_of(settings, service_jobs.finish(client, job))


def _compiled(settings: Settings, case: Case, name: str) -> Path:
    """The artifact of a case by the records that the settings lead to."""
    out = report.OUT / "zero_trial" / f"{case.model}-{case.batch}x{case.seq_len}-{name}.tar"
    return service_jobs.compiled(settings, resolve_source(case.model), case.batch, case.seq_len, out)


def _timed(settings: Settings, case: Case, tuned: Path, max_sec: float) -> dict[str, float]:
    """Median ms of each contestant, the one that knows no record compiled now."""
    with draft(report.OUT) as nothing:
        (nothing / "logs").mkdir()
        first = _compiled(Settings(data_dir=nothing / "data", logs_dir=nothing / "logs"), case, FIRST)
    with borrowed(resolve_source(case.model), report.OUT / "sources") as fetched:
        modules = {FIRST: first, TUNED: tuned}
        result = timed(settings, case, modules, fetched, {PEER: PEER}, 20, 5, max_sec)
    return {timing.variant: timing.median_ms for timing in result.timings}


if __name__ == "__main__":
    run_app(lambda: typer.run(main))
