"""``make bench-tuning``: candidates measured per second, ours beside TVM's ``tune_relax``, on the same kernels.

Kernels that read integers are left out: with the random indices that stock measures with they end its device. So what
"fixed" gives stock is the thread pool on all physical cores, where TVM alone would take half of them on an x86.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from benchmarks import devices, report
from benchmarks.contest import Kernel, Score, Task, compete
from rpc.facts import device_facts, physical_cores
from tuner.cli.common import console, notes, run_app

OURS, FIXED, AS_IS = "ours", "stock", "stock_unfixed"
NAMES = {OURS: "TuneSmith", FIXED: "tune_relax, all cores", AS_IS: "tune_relax, as it is"}


@dataclass(frozen=True)
class Shape:
    """The model whose kernels are tuned."""

    model: str
    batch: int
    seq_len: int


def main(
    model: Annotated[str, typer.Option(help="Preset, hub id or folder.")] = "bert-base-uncased",
    batch: Annotated[int, typer.Option(help="Batch size.")] = 1,
    seq_len: Annotated[int, typer.Option("--seq", help="Sequence length.")] = 128,
    kernels: Annotated[int, typer.Option(help="How many of the model's kernels, those with most arithmetic.")] = 3,
    trials: Annotated[int, typer.Option(help="Candidates of each kernel; 64 is what stock takes at a time.")] = 64,
    timeout_min: Annotated[float, typer.Option(help="Longest a contestant may take, minutes.")] = 15.0,
) -> None:
    """Let each tune the same kernels; writes benchmarks/out/tuning.json."""
    threads = physical_cores()
    facts = device_facts()
    target = devices.own_target(threads)
    with notes.status(f"importing {model}"):
        chosen = kernels_of(Shape(model, batch, seq_len), target, kernels)
    notes.print("kernels: " + ", ".join(kernel.name for kernel in chosen), highlight=False)
    folder = report.OUT / "tuning"
    shutil.rmtree(folder, ignore_errors=True)
    scores: dict[str, Score] = {}
    for name in NAMES:
        with notes.status(f"{NAMES[name]}: {len(chosen)} kernels, {trials} candidates each"):
            scores[name] = _score(name, folder / name, chosen, target, trials, threads, timeout_min * 60)
        notes.print(f"{NAMES[name]}: {scores[name].per_sec:.2f} candidates/s", highlight=False)
    circumstances = report.circumstances(facts["cpu"])
    path = report.save(
        "tuning",
        {
            **{f"{name}_trials_per_sec": round(score.per_sec, 3) for name, score in scores.items()},
            "times_stock": round(scores[OURS].per_sec / scores[FIXED].per_sec, 2),
            "model": model,
            "batch": batch,
            "seq": seq_len,
            "n": {name: score.tried for name, score in scores.items()},
            **circumstances,
            "kernels": [kernel.model_dump(exclude={"tir"}) for kernel in chosen],
            "scores": {name: score.model_dump() for name, score in scores.items()},
        },
    )
    console.print(table(scores, chosen))
    console.print(report.footer(circumstances), style="dim", soft_wrap=True)
    console.print(f"written to {report.shown(path)}", style="dim", soft_wrap=True)


def kernels_of(shape: Shape, target: dict[str, object], count: int | None = None) -> list[Kernel]:
    """The model's tunable kernels, or ``count`` of them, those that do most of its arithmetic first."""
    from tuner.importers import cache
    from tuner.importers.snapshot import borrowed
    from tuner.importers.source import resolve_source
    from tuner.kernels.context import make_target
    from tuner.kernels.workload import extract
    from tuner.measuring.measure import COLD_WEIGHT_BYTES
    from tuner.measuring.repeats import USUAL

    root = report.OUT / "imports"
    with borrowed(resolve_source(shape.model), report.OUT / "sources") as fetched:
        imported = cache.import_source(fetched, cache.Shape(shape.batch, shape.seq_len), root)
    found = [one for one in extract(cache.load_module(root, imported), make_target(target)) if one.tunable]
    found.sort(key=lambda one: -one.weight * one.flops)
    return [
        Kernel(
            id=one.id,
            name=one.name,
            summary=one.summary,
            flops=one.flops,
            weight_bytes=one.weight_bytes,
            tir=one.tir,
            evaluator=USUAL.as_kept(one.weight_bytes >= COLD_WEIGHT_BYTES),
        )
        for one in found[:count]
    ]


def table(scores: dict[str, Score], kernels: list[Kernel]) -> Table:
    """A line per contestant, with the best time it found for each kernel."""
    found = Table(header_style="bold")
    found.add_column("tuner")
    for name in ("candidates/s", "tried", "failed", "seconds", *(kernel.name for kernel in kernels)):
        found.add_column(name, justify="right", overflow="fold")
    for name, score in scores.items():
        best = [f"{us:.0f} µs" if (us := score.best_us.get(kernel.id)) else "–" for kernel in kernels]
        numbers = (f"{score.per_sec:.2f}", str(score.tried), str(score.failed), f"{score.seconds:.0f}")
        found.add_row(NAMES[name], *numbers, *best)
    return found


def _score(
    name: str,
    folder: Path,
    kernels: list[Kernel],
    target: dict[str, object],
    trials: int,
    threads: int,
    timeout_sec: float,
) -> Score:
    device = (
        devices.own_device(folder, threads)
        if name == OURS
        else devices.stock_device(folder, threads if name == FIXED else None)
    )
    with device as port:
        task = Task(kernels=kernels, target=target, trials=trials, tracker_port=port, device_key=devices.KEY)
        return compete("benchmarks.ours" if name == OURS else "benchmarks.stock", task, folder, timeout_sec)


if __name__ == "__main__":
    run_app(lambda: typer.run(main))
