"""``python -m benchmarks.recording``: a records log of good candidates and bad ones, for ``benchmarks.replay``.

What a search measures is what it thinks well of, and any order of that comes to a good candidate soon. So most of these
are drawn at random from all register tiles and all sketches there are. What our own search proposes first is measured
before them, so that a replay of it finds its way; stock's evolved candidates are not in it.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Annotated, NamedTuple

import typer
from rich.table import Table

from benchmarks import devices, report
from benchmarks.contest import Kernel, Task
from benchmarks.draws import Space
from benchmarks.ours import Workshop
from benchmarks.tuning import Shape, kernels_of
from rpc.facts import physical_cores
from tuner.cli.common import console, notes, run_app
from tuner.db import log
from tuner.search.replay import Recording, recordings

_OWN, _TILES = 0.25, 0.375  # parts of a workload's candidates; the rest are sketches
_BUILD_SEC = 20.0  # deadline of a build


class Shares(NamedTuple):
    """How many of a workload's candidates are our search's first, and how many drawn from tiles and from sketches."""

    own: int
    tiles: int
    sketches: int


def main(
    workloads: Annotated[int, typer.Option(help="How many of the model's kernels.")] = 3,
    candidates: Annotated[int, typer.Option(help="Candidates of each.")] = 200,
    model: Annotated[str, typer.Option(help="Preset, hub id or folder.")] = "bert-base-uncased",
    batch: Annotated[int, typer.Option(help="Batch size.")] = 1,
    seq_len: Annotated[int, typer.Option("--seq", help="Sequence length.")] = 128,
    seed: Annotated[int, typer.Option(help="Of what is drawn at random.")] = 0,
    out: Annotated[
        Path, typer.Option(help="The log to write, gzipped.", show_default="benchmarks/out/recording.jsonl.gz")
    ] = report.OUT / "recording.jsonl.gz",
) -> None:
    """Measure a sample of the whole space of some kernels on this machine and write its records."""
    threads = physical_cores()
    target = devices.own_target(threads)
    with notes.status(f"importing {model}"):
        chosen = varied(kernels_of(Shape(model, batch, seq_len), target), workloads)
    notes.print("kernels: " + ", ".join(kernel.name for kernel in chosen), highlight=False)
    folder = report.OUT / "recording"
    shutil.rmtree(folder, ignore_errors=True)
    with devices.own_device(folder, threads) as port:
        task = Task(kernels=chosen, target=target, trials=candidates, tracker_port=port, device_key=devices.KEY)
        found = record(task, folder, seed, out)
    console.print(table(found))
    console.print(f"written to {report.shown(out)}", style="dim", soft_wrap=True)


def varied(kernels: Sequence[Kernel], count: int) -> list[Kernel]:
    """The first ``count``; the last of them gives way to the first without weights, another kind of work."""
    chosen = list(kernels[:count])
    without = [kernel for kernel in kernels if not kernel.weight_bytes]
    return chosen if not without or without[0] in chosen else [*chosen[:-1], without[0]]


def shares(candidates: int) -> Shares:
    """How the candidates of a workload are divided."""
    own, tiles = round(candidates * _OWN), round(candidates * _TILES)
    return Shares(own, tiles, candidates - own - tiles)


def record(task: Task, folder: Path, seed: int, out: Path) -> list[Recording]:
    """Measure ``task.trials`` candidates of each kernel by our rounds and write them to ``out``, failed ones too.

    Where there are no tiles, there are more sketches; where there is too little of both, our search goes on.
    """
    share = shares(task.trials)
    drawn = share.tiles + share.sketches
    with closing(Workshop(task, folder / "data", build_timeout_sec=_BUILD_SEC)) as workshop:
        with notes.status("our search's first") as status:

            def tell(kernel: Kernel, done: int) -> None:
                status.update(f"{kernel.name}: {done} of {task.trials} candidates measured")

            workshop.tune(share.own, cold=True, on_round=tell)
            for kernel in task.kernels:
                status.update(f"{kernel.name}: drawing")
                space = Space(kernel.tir, task.target)
                known = workshop.tried(kernel)
                tiles = space.tiles(share.tiles, seed, known)
                workshop.suggest(kernel, tiles | space.sketches(drawn - len(tiles), seed, known))
            workshop.tune(drawn, on_round=lambda kernel, done: tell(kernel, share.own + done))
        out.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(out, "wt") as file:
            file.writelines(log.export_lines(workshop.engine, failed=True))
        return recordings(workshop.engine)


def table(found: Sequence[Recording]) -> Table:
    """How good and bad the candidates are, a line per workload."""
    lines = Table(header_style="bold")
    lines.add_column("workload")
    for name in ("records", "failed", "best µs", "median µs", "worst µs"):
        lines.add_column(name, justify="right")
    for one in found:
        micros = sorted(c.seconds * 1e6 for c in one.candidates.values() if c.seconds is not None)
        spread = (micros[0], median(micros), micros[-1]) if micros else ()
        counts = (len(one.candidates), len(one.candidates) - len(micros))
        lines.add_row(one.name, *map(str, counts), *(f"{value:.0f}" for value in spread))
    return lines


if __name__ == "__main__":
    run_app(lambda: typer.run(main))
