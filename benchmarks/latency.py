"""``make bench``: tuned models beside PyTorch, ONNX Runtime and OpenVINO, all in float32, interleaved in one process.

The service tunes first (from the records that are known) and is stopped before anything is timed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from benchmarks import report, service_jobs
from rpc.facts import physical_cores
from tuner.bench.launch import run_benchmark
from tuner.bench.spec import Kind, Result, Spec, Variant
from tuner.cli.common import console, notes, run_app, settings_with
from tuner.cli.local_service import local_service
from tuner.config import Settings
from tuner.schemas import BudgetIn

OURS = "ours"
# Key of the report -> kind of contestant; ours comes first.
PEERS: dict[str, Kind] = {
    "torch_eager": "torch-eager",
    "torch_sdpa": "torch-sdpa",
    "onnxruntime": "onnxruntime",
    "openvino_f32": "openvino",
}
NAMES = {"torch_eager": "eager", "torch_sdpa": "SDPA", "onnxruntime": "ORT", "openvino_f32": "OpenVINO"}
MATRIX_MODELS = ("bert-base-uncased", "distilbert-base-uncased", "minilm-l6")
MATRIX_BATCHES, MATRIX_SEQ_LENS = (1, 8), (32, 128, 384)


@dataclass(frozen=True)
class Case:
    """One model at one shape."""

    model: str
    batch: int
    seq_len: int


@dataclass(frozen=True)
class Tuned:
    """A case's artifact, and what its job predicted (ms) after how many trials."""

    case: Case
    job_id: str
    artifact: Path
    predicted_ms: float | None
    trials: int


def main(
    model: Annotated[str, typer.Option(help="Preset, hub id or folder.")] = "bert-base-uncased",
    batch: Annotated[int, typer.Option(help="Batch size.")] = 1,
    seq_len: Annotated[int, typer.Option("--seq", help="Sequence length.")] = 128,
    matrix: Annotated[bool, typer.Option("--matrix", help="Three models, batch 1 and 8, length 32, 128, 384.")] = False,
    trials: Annotated[int | None, typer.Option(help="Budget of a case in candidates; else the express one.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Budget of a case in minutes of tuning.")] = None,
    rounds: Annotated[int, typer.Option(help="Turns each contestant gets, in random order.")] = 20,
    per_round: Annotated[int, typer.Option(help="Timed runs of a turn.")] = 5,
    data_dir: Annotated[Path, typer.Option(help="The service's data; records and artifacts are kept there.")] = (
        service_jobs.DATA_DIR
    ),
) -> None:
    """Tune, then time the result beside its peers; writes benchmarks/out/latency.json."""
    settings = settings_with(data_dir=data_dir)
    cases = [Case(model, batch, seq_len)]
    if matrix:
        cases = [Case(*one) for one in itertools.product(MATRIX_MODELS, MATRIX_BATCHES, MATRIX_SEQ_LENS)]
        cases.sort(key=lambda case: case != Case(MATRIX_MODELS[0], 1, 128))  # the one that leads the report
    found: list[dict[str, Any]] = []
    for tuned in _tune(settings, cases, service_jobs.budget(trials, minutes)):
        result = _race(settings, tuned, rounds, per_round)
        facts = report.circumstances(result.machine)
        found.append(entry(tuned, result))
        path = report.save("latency", {**found[0], **facts, "cases": found})
    console.print(table(found))
    console.print(report.footer(facts), style="dim", soft_wrap=True)
    console.print(f"written to {report.shown(path)}", style="dim", soft_wrap=True)


def entry(tuned: Tuned, result: Result) -> dict[str, Any]:
    """One case of the report: medians in ms under ``<contestant>_ms``, and how they came about."""
    medians = {f"{timing.variant}_ms": round(timing.median_ms, 3) for timing in result.timings}
    return {
        "model": tuned.case.model,
        "batch": tuned.case.batch,
        "seq": tuned.case.seq_len,
        **medians,
        "threads": result.threads,
        "weights": result.weights,
        "predicted_ms": tuned.predicted_ms,
        "trials": tuned.trials,
        "job": tuned.job_id,
        "spread": {
            t.variant: {"p10_ms": round(t.p10_ms, 3), "p90_ms": round(t.p90_ms, 3), "n": t.n} for t in result.timings
        },
        "max_abs_errors": result.max_abs_errors,
    }


def table(cases: Iterable[dict[str, Any]]) -> Table:
    """A line of median ms per case; the last column says how many times slower than ours the fastest peer is."""
    found = Table(title="median ms, lower is better", title_style="dim", header_style="bold")
    for name in ("model", "batch x seq"):
        found.add_column(name, overflow="fold")
    for name in ("ours", *NAMES.values(), "best peer"):
        found.add_column(name, justify="right", no_wrap=True)
    for case in cases:
        peers = [case[f"{key}_ms"] for key in PEERS]
        ours = case[f"{OURS}_ms"]
        times = [f"{ms:.3g}" for ms in (ours, *peers)]
        found.add_row(case["model"], f"{case['batch']} x {case['seq']}", *times, f"{min(peers) / ours:.2f}x")
    return found


def _tune(settings: Settings, cases: list[Case], wish: BudgetIn) -> list[Tuned]:
    with local_service(settings) as client:
        tuned = []
        for case in cases:
            job = service_jobs.finish(client, service_jobs.submit(client, **asdict(case), wish=wish))
            artifact = settings.artifacts_dir / f"{job.artifact_id}.tar"
            tuned.append(Tuned(case, job.id, artifact, job.predicted_ms, job.trials))
        return tuned


def _race(settings: Settings, tuned: Tuned, rounds: int, per_round: int) -> Result:
    case = tuned.case
    spec = Spec(
        model=case.model,
        batch=case.batch,
        seq_len=case.seq_len,
        threads=settings.device_threads or physical_cores(),
        rounds=rounds,
        per_round=per_round,
        variants=[
            Variant(name=OURS, kind="tvm", path=str(tuned.artifact)),
            *(Variant(name=name, kind=kind) for name, kind in PEERS.items()),
        ],
    )
    with notes.status(f"timing {case.model} {case.batch} x {case.seq_len} beside its peers") as status:

        def progress(done: int, total: int) -> None:
            if total:
                status.update(f"timing {case.model} {case.batch} x {case.seq_len}: round {done} of {total}")

        return run_benchmark(spec, report.OUT / "race", progress)


if __name__ == "__main__":
    run_app(lambda: typer.run(main))
