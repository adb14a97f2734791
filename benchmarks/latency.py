"""``make bench``: tuned models beside PyTorch, ONNX Runtime and OpenVINO, all in float32, interleaved in one process.

Of each case, the service tunes first (from the records that are known) and is stopped before anything is timed.
``--families`` is ``benchmarks/families.py``, ``--precisions`` ``benchmarks/precisions.py``.
"""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.table import Table

from benchmarks import report, service_jobs
from rpc.facts import cpu_model, physical_cores
from tuner.bench.launch import run_benchmark
from tuner.bench.spec import Kind, Result, Spec, Variant
from tuner.cli.common import console, notes, run_app, settings_with
from tuner.cli.local_service import local_service
from tuner.config import Settings
from tuner.errors import InvalidInput, StageFailed, TunerError
from tuner.importers.snapshot import Fetched, borrowed
from tuner.importers.source import resolve_source
from tuner.schemas import BudgetIn

OURS, ALL = "ours", "all"
PARTS = {"--families": "benchmarks.families", "--precisions": "benchmarks.precisions"}  # commands of their own
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

AnyCase = TypeVar("AnyCase")


@dataclass(frozen=True)
class Case:
    """One model at one shape."""

    model: str
    batch: int
    seq_len: int

    def __str__(self) -> str:
        return f"{self.model} {self.batch} x {self.seq_len}"


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
    max_sec: Annotated[
        float,
        typer.Option(min=1, help="Seconds of timing a case: turns get shorter and fewer, but no less than three."),
    ] = 90.0,
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
    wish = service_jobs.budget(trials, minutes)
    facts = report.circumstances(cpu_model())

    def run(case: Case) -> dict[str, Any]:
        tuned = _tune(settings, case, wish)
        found = entry(tuned, _race(settings, tuned, rounds, per_round, max_sec))
        notes.print(
            f"{case}: {found[f'{OURS}_ms']:.3g} ms, the best peer takes {margin(found):.2f} times as long",
            highlight=False,
        )
        return found

    def save(found: list[dict[str, Any]]) -> Path:
        return report.save("latency", {**found[0], **facts, "cases": found})

    found, failed = run_all(cases, run, save)
    if found:
        console.print(table(found))
        console.print(report.footer(facts), style="dim", soft_wrap=True)
        console.print(f"written to {report.shown(save(found))}", style="dim", soft_wrap=True)
    if failed:
        names = ", ".join(map(str, failed))
        raise StageFailed(f"{len(failed)} of {len(cases)} cases failed: {names}.", "Why is said above, case by case.")


def run_all(
    cases: Iterable[AnyCase], run: Callable[[AnyCase], dict[str, Any]], keep: Callable[[list[dict[str, Any]]], object]
) -> tuple[list[dict[str, Any]], list[AnyCase]]:
    """Entries of the cases that succeed, and the cases that fail, which are printed with the reason and end nothing.

    ``keep`` gets all entries so far after each.
    """
    found: list[dict[str, Any]] = []
    failed: list[AnyCase] = []
    for case in cases:
        try:
            found.append(run(case))
        except TunerError as error:
            failed.append(case)
            notes.print(f"{case} failed: {error.message} {error.hint}", style="red", markup=False, soft_wrap=True)
        else:
            keep(found)
    return found, failed


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
    """A line of median ms per case; the last column is the margin to the fastest peer."""
    found = Table(title="median ms, lower is better", title_style="dim", header_style="bold")
    for name in ("model", "batch x seq"):
        found.add_column(name, overflow="fold")
    for name in ("ours", *NAMES.values(), "best peer"):
        found.add_column(name, justify="right", no_wrap=True)
    for case in cases:
        times = [f"{case[f'{key}_ms']:.3g}" for key in (OURS, *PEERS)]
        found.add_row(case["model"], f"{case['batch']} x {case['seq']}", *times, f"{margin(case):.2f}x")
    return found


def margin(case: dict[str, Any]) -> float:
    """How many times as long as ours the fastest peer takes."""
    return float(min(case[f"{key}_ms"] for key in PEERS) / case[f"{OURS}_ms"])


def _tune(settings: Settings, case: Case, wish: BudgetIn) -> Tuned:
    with local_service(settings) as client:
        job = service_jobs.finish(client, service_jobs.submit(client, **asdict(case), wish=wish))
    return Tuned(case, job.id, service_jobs.artifact_of(settings, job), job.predicted_ms, job.trials)


def _race(settings: Settings, tuned: Tuned, rounds: int, per_round: int, max_sec: float) -> Result:
    with borrowed(resolve_source(tuned.case.model), report.OUT / "sources") as fetched:
        return timed(settings, tuned.case, {OURS: tuned.artifact}, fetched, PEERS, rounds, per_round, max_sec)


def timed(
    settings: Settings,
    case: Case,
    artifacts: Mapping[str, Path],
    fetched: Fetched,
    peers: Mapping[str, Kind],
    rounds: int,
    per_round: int,
    max_sec: float,
) -> Result:
    """Artifacts and their peers by name, interleaved in one process."""
    spec = Spec(
        source=fetched.source,
        folder=fetched.folder,
        batch=case.batch,
        seq_len=case.seq_len,
        threads=settings.device_threads or physical_cores(),
        rounds=rounds,
        per_round=per_round,
        max_sec=max_sec,
        variants=[
            *(Variant(name=name, kind="tvm", path=str(path)) for name, path in artifacts.items()),
            *(Variant(name=name, kind=kind) for name, kind in peers.items()),
        ],
    )
    with notes.status(f"timing {case} beside its peers") as status:

        def progress(done: int, total: int) -> None:
            if total:
                status.update(f"timing {case}: round {done} of {total}")

        return run_benchmark(spec, report.OUT / "race", progress)


def some(text: str, known: Sequence[str], what: str) -> list[str]:
    """Those of ``known`` that a text names, with commas between, or all. Raises InvalidInput naming what is none."""
    wanted = list(known) if text == ALL else text.split(",")
    if strange := [one for one in wanted if one not in known]:
        raise InvalidInput(f"There is no {what} {strange[0]!r}.", f"Use some of: {', '.join(known)}.")
    return wanted


def words_of(part: str, arguments: Sequence[str]) -> list[str]:
    """Arguments for a part, whose name may stand alone: it is of all then."""
    given = list(arguments)
    place = given.index(part) + 1
    if place == len(given) or given[place].startswith("-"):
        given.insert(place, ALL)
    return given


def _run(arguments: Sequence[str]) -> None:
    part = next((one for one in PARTS if one in arguments), None)
    app = typer.Typer(add_completion=False)
    app.command()(importlib.import_module(PARTS[part]).main if part else main)
    run_app(lambda: app(words_of(part, arguments) if part else list(arguments)))


if __name__ == "__main__":
    _run(sys.argv[1:])
