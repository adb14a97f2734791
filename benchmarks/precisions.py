"""``make bench ARGS=--precisions``: each precision beside its peers, with what each loses on the same sentences.

All are interleaved in one process: ours in float32, bf16 and int8, OpenVINO in float32, in what it takes by itself and
in int8 (static, by NNCF), ONNX Runtime in float32 and dynamic int8, PyTorch in float32 and bf16.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks import report, service_jobs
from rpc.facts import physical_cores
from tuner.bench.launch import run_benchmark
from tuner.bench.spec import Kind, Result, Spec, Variant
from tuner.cli.common import console, notes
from tuner.cli.local_service import local_service
from tuner.config import Settings
from tuner.errors import StageFailed
from tuner.importers.snapshot import borrowed
from tuner.importers.source import resolve_source
from tuner.schemas import BudgetIn
from tuner.schemas.common import Precision

OURS: tuple[Precision, ...] = ("fp32", "bf16", "int8")
# Name of a row -> kind of contestant, and what its products are computed in.
PEERS: dict[str, tuple[Kind, Precision]] = {
    "openvino_f32": ("openvino", "fp32"),
    "openvino_default": ("openvino-default", "bf16"),
    "openvino_int8": ("openvino-int8", "int8"),
    "onnxruntime": ("onnxruntime", "fp32"),
    "onnxruntime_int8": ("onnxruntime-int8", "int8"),
    "torch_sdpa": ("torch-sdpa", "fp32"),
    "torch_bf16": ("torch-bf16", "bf16"),
}
_SENTENCES = 64


def run(settings: Settings, cases: list[tuple[str, int, int]], wish: BudgetIn, max_sec: float) -> None:
    """Tune and time each case ``(model, batch, sequence)``; prints tables, writes benchmarks/out/precisions.json."""
    found: list[dict[str, Any]] = []
    for case in cases:
        result, made = _race(settings, case, wish, max_sec)
        found += entries(case, result, made)
        console.print(table(case, result))
        path = report.save("precisions", found)
    console.print(f"written to {report.shown(path)}", style="dim", soft_wrap=True)


def entries(case: tuple[str, int, int], result: Result, made: list[Precision]) -> list[dict[str, Any]]:
    """The report's entry of each of our precisions, beside all peers."""
    times = {timing.variant: timing.median_ms for timing in result.timings}
    cosines = {name: one["cosine_mean"] for name, one in result.fidelity.items()}
    peers = {
        name: {"ms": round(times[name], 3), "precision": precision, "cosine_mean": cosines[name]}
        for name, (_, precision) in PEERS.items()
        if name in times
    }
    return [
        {
            "model": case[0],
            "batch": case[1],
            "seq": case[2],
            "precision": precision,
            "ours_ms": round(times[f"ours_{precision}"], 3),
            "ours_fp32_ms": round(times["ours_fp32"], 3),
            "cosine_mean": cosines[f"ours_{precision}"],
            "cosine_min": result.fidelity[f"ours_{precision}"]["cosine_min"],
            "weights": result.weights,
            "machine": result.machine,
            "peers": peers,
        }
        for precision in made
        if precision != "fp32"
    ]


def table(case: tuple[str, int, int], result: Result) -> Table:
    """A row for each contestant, the fastest first."""
    model, batch, seq_len = case
    found = Table(title=f"{model} {batch} x {seq_len}, {result.machine}, {result.weights} weights", title_style="dim")
    for name in ("contestant", "median ms", "p10", "p90", "cosine mean", "least", "neighbours"):
        found.add_column(name, justify="left" if name == "contestant" else "right")
    for timing in sorted(result.timings, key=lambda one: one.median_ms):
        lost = result.fidelity[timing.variant]
        figures = [f"{value:.3g}" for value in (timing.median_ms, timing.p10_ms, timing.p90_ms)]
        near = [f"{lost['cosine_mean']:.5f}", f"{lost['cosine_min']:.5f}", f"{lost['neighbours']:.1%}"]
        found.add_row(timing.variant, *figures, *near)
    return found


def _race(
    settings: Settings, case: tuple[str, int, int], wish: BudgetIn, max_sec: float
) -> tuple[Result, list[Precision]]:
    model, batch, seq_len = case
    artifacts = _tuned(settings, case, wish)
    ours = [Variant(name=f"ours_{p}", kind="tvm", path=str(path), precision=p) for p, path in artifacts.items()]
    peers = [Variant(name=name, kind=kind, precision=precision) for name, (kind, precision) in PEERS.items()]
    with borrowed(resolve_source(model), report.OUT / "sources") as fetched:
        spec = Spec(
            source=fetched.source,
            folder=fetched.folder,
            batch=batch,
            seq_len=seq_len,
            threads=settings.device_threads or physical_cores(),
            rounds=20,
            max_sec=max_sec,
            judged=_SENTENCES,
            variants=[*ours, *peers],
        )
        with notes.status(f"timing {model} {batch} x {seq_len} in each precision"):
            return run_benchmark(spec, report.OUT / "race"), list(artifacts)


def _tuned(settings: Settings, case: tuple[str, int, int], wish: BudgetIn) -> dict[Precision, Path]:
    """The artifact of each precision that this machine has instructions for."""
    model, batch, seq_len = case
    found: dict[Precision, Path] = {}
    with local_service(settings) as client:
        for precision in OURS:
            shape = {"batch": batch, "seq_len": seq_len, "precision": precision}
            try:
                job = service_jobs.finish(client, service_jobs.submit(client, model, wish, **shape))
            except StageFailed as failure:
                if precision == "fp32":
                    raise
                notes.print(f"without {precision}: {failure.message}", style="yellow", markup=False, soft_wrap=True)
                continue
            found[precision] = service_jobs.artifact_of(settings, job)
    return found
