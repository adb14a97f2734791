"""``make bench ARGS=--precisions``: each precision beside its peers, with what each loses on the same sentences.

In turns, each in a process of its own: ours in float32, bf16 and int8, OpenVINO in float32, in what it takes by itself
and in int8 (static, by NNCF), ONNX Runtime in float32, optimised and in dynamic int8, PyTorch in float32, compiled and
in bf16. ``benchmarks/out/precisions.json`` has an entry for each of our lower precisions at each shape of each model;
what is there already with all of these, of the same machine and versions, is neither tuned nor timed again, and what
ends before its time goes on with the graphs of the others that it has.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from benchmarks import report, service_jobs
from benchmarks.kept import is_done, merged, read, the_one
from benchmarks.latency import ALL, Case, some
from rpc.facts import cpu_model, physical_cores
from tuner.bench.launch import run_benchmark
from tuner.bench.spec import Kind, Result, Spec, Variant
from tuner.cli.common import console, notes, settings_with
from tuner.cli.local_service import local_service
from tuner.config import Settings
from tuner.errors import StageFailed
from tuner.importers.snapshot import borrowed
from tuner.importers.source import resolve_source
from tuner.schemas import BudgetIn
from tuner.schemas.common import Precision

BASE: Precision = "fp32"  # takes part in any case
LOWER: tuple[Precision, ...] = ("bf16", "int8")
# Name of a row -> kind of contestant, and what it is expected to compute in.
PEERS: dict[str, tuple[Kind, Precision]] = {
    "openvino_f32": ("openvino", "fp32"),
    "openvino_default": ("openvino-default", "bf16"),
    "openvino_int8": ("openvino-int8", "int8"),
    "onnxruntime": ("onnxruntime", "fp32"),
    "onnxruntime_optimised": ("onnxruntime-optimised", "fp32"),
    "onnxruntime_int8": ("onnxruntime-int8", "int8"),
    "torch_sdpa": ("torch-sdpa", "fp32"),
    "torch_compile": ("torch-compile", "fp32"),
    "torch_bf16": ("torch-bf16", "bf16"),
}
_TIMED, _TUNED = "precisions", "precisions_tuned"  # of the files; the second says where artifacts are
_KEY = ("model", "batch", "seq", "precision")
_SENTENCES = 64


def main(
    precisions: Annotated[str, typer.Option(help=f"Some of {', '.join(LOWER)}, with commas between.")] = ALL,
    model: Annotated[str, typer.Option(help="Preset, hub id or folder.")] = "bert-base-uncased",
    batch: Annotated[int, typer.Option(help="Batch size.")] = 1,
    seq_len: Annotated[int, typer.Option("--seq", help="Sequence length.")] = 128,
    trials: Annotated[int | None, typer.Option(help="Budget of a precision in candidates; else express.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Budget of a precision in minutes of tuning.")] = None,
    max_sec: Annotated[float, typer.Option(min=1, help="Seconds of timing.")] = 90.0,
    tune: Annotated[bool, typer.Option("--tune/--no-tune", help="Tune what is not tuned yet, or leave it out.")] = True,
    time: Annotated[bool, typer.Option("--time/--no-time", help="Time what is tuned, or leave that to later.")] = True,
    data_dir: Annotated[Path, typer.Option(help="The service's data; records and artifacts are kept there.")] = (
        service_jobs.DATA_DIR
    ),
) -> None:
    """Tune a model in each precision, then time all beside their peers; adds to benchmarks/out/precisions.json."""
    settings = settings_with(data_dir=data_dir)
    case, facts = Case(model, batch, seq_len), report.circumstances(cpu_model())
    about = {name: facts[name] for name in ("machine", "versions")}
    wanted = [one for one in LOWER if one in some(precisions, LOWER, "lower precision")]
    before = read(_TIMED)
    waiting = [one for one in wanted if not is_done(_fields(case, one) | about | {"absent": {}}, before)]
    if done := [one for one in wanted if one not in waiting]:
        notes.print(f"{case}: done before in {', '.join(done)}", highlight=False)
    if not waiting:
        return
    if tune:
        _tune(settings, case, [BASE, *waiting], service_jobs.budget(trials, minutes), about)
    known = read(_TUNED)
    found = {one: the_one(_fields(case, one) | about, known) for one in (BASE, *waiting)}
    artifacts = {one: Path(entry["artifact"]) for one, entry in found.items() if entry}
    if not time:
        return
    if not artifacts.keys() > {BASE}:
        raise StageFailed(f"{case} is not tuned in {BASE} and a lower precision.", "Leave out --no-tune.")
    told = f"{case} {sorted(facts['versions'].items())}"
    graphs = report.OUT / "graphs" / hashlib.sha256(told.encode()).hexdigest()[:16]
    graphs.mkdir(parents=True, exist_ok=True)
    result = _race(settings, case, artifacts, max_sec, graphs)
    console.print(table(case, result))
    for name, why in result.absent.items():
        console.print(f"without {name}: {why}", style="yellow", markup=False, soft_wrap=True)
    made = [entry | about | {"date": facts["date"]} for entry in entries(case, result, list(artifacts))]
    path = report.save(_TIMED, merged(before, made, _KEY))
    shutil.rmtree(graphs)
    console.print(report.footer(facts), style="dim", soft_wrap=True)
    console.print(f"written to {report.shown(path)}", style="dim", soft_wrap=True)


def entries(case: Case, result: Result, made: Sequence[Precision]) -> list[dict[str, Any]]:
    """The report's entry of each of our lower precisions, beside all peers."""
    times = {timing.variant: timing for timing in result.timings}
    cosines = {name: one["cosine_mean"] for name, one in result.fidelity.items()}
    peers = {
        name: {"ms": _ms(times[name].median_ms), "precision": times[name].precision, "cosine_mean": cosines[name]}
        for name in PEERS
        if name in times
    }
    return [
        {
            **_fields(case, precision),
            "ours_ms": _ms(times[f"ours_{precision}"].median_ms),
            "ours_fp32_ms": _ms(times[f"ours_{BASE}"].median_ms),
            "cosine_mean": cosines[f"ours_{precision}"],
            "cosine_min": result.fidelity[f"ours_{precision}"]["cosine_min"],
            "neighbours": result.fidelity[f"ours_{precision}"]["neighbours"],
            "weights": result.weights,
            "peers": peers,
            "absent": result.absent,
        }
        for precision in made
        if precision != BASE
    ]


def table(case: Case, result: Result) -> Table:
    """A row for each contestant, the fastest first."""
    found = Table(title=f"{case}, {result.machine}, {result.weights} weights", title_style="dim")
    for name in ("contestant", "in", "median ms", "p10", "p90", "cosine mean", "least", "neighbours"):
        found.add_column(name, justify="left" if name in ("contestant", "in") else "right")
    for timing in sorted(result.timings, key=lambda one: one.median_ms):
        lost = result.fidelity[timing.variant]
        figures = [f"{value:.3g}" for value in (timing.median_ms, timing.p10_ms, timing.p90_ms)]
        near = [f"{lost['cosine_mean']:.5f}", f"{lost['cosine_min']:.5f}", f"{lost['neighbours']:.1%}"]
        found.add_row(timing.variant, timing.precision, *figures, *near)
    return found


def _fields(case: Case, precision: Precision) -> dict[str, Any]:
    return dict(zip(_KEY, (case.model, case.batch, case.seq_len, precision), strict=True))


def _ms(exact: float) -> float:
    return round(exact, 3)


def _race(settings: Settings, case: Case, artifacts: Mapping[Precision, Path], max_sec: float, graphs: Path) -> Result:
    ours = [Variant(name=f"ours_{p}", kind="tvm", path=str(path), precision=p) for p, path in artifacts.items()]
    peers = [
        Variant(name=name, kind=kind, precision=precision, optional=True) for name, (kind, precision) in PEERS.items()
    ]
    with borrowed(resolve_source(case.model), report.OUT / "sources") as fetched:
        spec = Spec(
            source=fetched.source,
            folder=fetched.folder,
            batch=case.batch,
            seq_len=case.seq_len,
            threads=settings.device_threads or physical_cores(),
            rounds=20,
            max_sec=max_sec,
            apart=True,  # what quantises for OpenVINO changes PyTorch itself
            idle_sec=0,
            graphs=graphs.absolute(),
            judged=_SENTENCES,
            variants=[*ours, *peers],
        )
        with notes.status(f"timing {case} in each precision") as status:

            def progress(done: int, total: int) -> None:
                if total:
                    status.update(f"timing {case} in each precision: round {done} of {total}")

            return run_benchmark(spec, report.OUT / "race", progress)


def _tune(
    settings: Settings, case: Case, precisions: Sequence[Precision], wish: BudgetIn, about: dict[str, Any]
) -> None:
    """Make the artifacts that are not there; a precision that the machine has no instructions for is left out."""
    known = read(_TUNED)
    untuned = [one for one in precisions if not is_done(_fields(case, one) | about, known)]
    if not untuned:
        return
    with local_service(settings) as client:
        for precision in untuned:
            shape = {"batch": case.batch, "seq_len": case.seq_len, "precision": precision}
            try:
                job = service_jobs.finish(client, service_jobs.submit(client, case.model, wish, **shape))
            except StageFailed as failure:
                if precision == BASE:
                    raise
                notes.print(f"without {precision}: {failure.message}", style="yellow", markup=False, soft_wrap=True)
                continue
            artifact = str(service_jobs.artifact_of(settings, job).absolute())
            entry = _fields(case, precision) | {"job": job.id, "trials": job.trials, "artifact": artifact, **about}
            known = merged(known, [entry], _KEY)
            report.save(_TUNED, known)
