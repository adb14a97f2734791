"""First guesses kernel by kernel, without a device: their times on record elsewhere, what their inner loops hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.table import Table

from benchmarks.inner_loops import Loop, busiest
from benchmarks.latency import Case
from benchmarks.replay import recordings_of
from tuner.config import Settings
from tuner.db.migrate import create_or_check
from tuner.errors import InvalidInput
from tuner.importers import cache
from tuner.importers.source import resolve_source
from tuner.jobs.kernel_text import text
from tuner.jobs.standalone import Order, import_here
from tuner.kernels import products, written
from tuner.kernels.context import make_target
from tuner.kernels.workload import ExtractedWorkload, extract, module_from_json
from tuner.search.guess import guess
from tuner.search.shipped import logs_folder
from tuner.targets.blas import without_blas
from tuner.targets.cores import Core, core_of
from tuner.targets.presets import Target

GOAL = 0.85  # of what a core can begin


@dataclass(frozen=True)
class Replayed:
    """Seconds of a kernel's guess on record, None where there are none, and of the best."""

    log: str
    kernel: str
    guess_sec: float | None
    best_sec: float


def replayed(settings: Settings, family: str) -> list[Replayed]:
    """The guesses of all kernels in a family's shipped logs. Raises InvalidInput when it has none."""
    found = []
    for path in sorted(logs_folder(settings).glob(f"{family}.*.jsonl.gz")):
        for one in recordings_of(path):
            guessed = guess(module_from_json(one.tir), make_target(one.target))
            if guessed is None:
                continue
            wanted = _decision(guessed.trace)
            same = [c.seconds for c in one.candidates.values() if c.seconds and _decision(c.trace) == wanted]
            found.append(Replayed(path.name.split(".")[1], one.name, min(same, default=None), one.best_sec))
    if not found:
        raise InvalidInput(f"No shipped log is of the family {family!r}.", f"See {logs_folder(settings)}.")
    return found


def _decision(trace: str) -> Any:
    """What two traces of one workload have in common that are one decision: the choice, the tile, else all of it."""
    return written.from_json(trace) if written.is_choice(trace) else products.tile_of(trace) or trace


def replayed_table(found: list[Replayed]) -> Table:
    """A line a kernel; below, the sums of those whose guess is on record."""
    lines = Table(title="first guess beside the best on record", title_style="dim")
    for name in ("log", "kernel", "guess µs", "best µs", "ratio"):
        lines.add_column(name, justify="left" if name in ("log", "kernel") else "right")
    for one in found:
        times = (f"{one.guess_sec * 1e6:.1f}", f"{one.guess_sec / one.best_sec:.2f}") if one.guess_sec else ("–", "–")
        lines.add_row(one.log, one.kernel, times[0], f"{one.best_sec * 1e6:.1f}", times[1])
    known = [(one.guess_sec, one.best_sec) for one in found if one.guess_sec]
    if known:
        total, best = (sum(times) for times in zip(*known, strict=True))
        share = f"{len(known)} of {len(found)} kernels"
        lines.add_row("all", share, f"{total * 1e6:.1f}", f"{best * 1e6:.1f}", f"{total / best:.2f}")
    return lines


def kernels_of(settings: Settings, case: Case, target: Target) -> list[ExtractedWorkload]:
    """Those of a case for a target, in the order of the model."""
    create_or_check(settings)
    order = Order(resolve_source(case.model), target, case.batch, case.seq_len)
    imported, _ = import_here(settings, order, lambda line: None)
    return extract(cache.load_module(settings.imports_dir, imported), make_target(target.tvm))


def counted(settings: Settings, case: Case, target: Target) -> list[tuple[str, Loop]]:
    """The busiest inner loop of each product of a case, as a target's cores would compute it, by the kernel's name and
    columns."""
    llvm = make_target(without_blas(target.tvm))
    found = []
    for one in kernels_of(settings, case, target):
        if (product := products.find_product(one.mod) if one.tunable else None) is None:
            continue
        loop = busiest(assembly(one.mod, llvm))
        if loop is not None:
            found.append((f"{one.name} {product.rows}x{product.columns}x{product.depth}", loop))
    return found


def assembly(mod: Any, target: Any) -> str:
    """Of a workload's guess, as LLVM writes it for the target."""
    guessed = guess(mod, target)
    assert guessed is not None
    return text(mod, target, guessed.trace, "asm")


def static_table(found: list[tuple[str, Loop]], target: Target) -> Table:
    """A line a product, beside what the target's core can do."""
    core: Core = core_of(str(target.tvm.get("mcpu", "")))
    title = (
        f"inner loops for {target.name}, {core.name}: {core.fma_lanes} lanes of multiply-adds, {core.loads} loads and "
        f"{core.decoded} instructions a cycle, latency {core.fma_latency}"
    )
    lines = Table(title=title, title_style="dim")
    for name in ("kernel", "FMAs", "FMAs / instruction", "loads / FMA", "sums", "stack", "of peak"):
        lines.add_column(name, justify="left" if name == "kernel" else "right")
    for name, loop in found:
        part = loop.part_of_peak(core)
        counts = (f"{loop.fmas / loop.instructions:.2f}", f"{loop.loads / loop.fmas:.2f}", str(loop.sums))
        marked = f"{part:.0%}" if part >= GOAL else f"[red]{part:.0%}[/]"
        lines.add_row(name, str(loop.fmas), *counts, str(loop.spilled), marked)
    return lines
