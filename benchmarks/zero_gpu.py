"""First guesses for an Apple GPU, kernel by kernel and without one: launches, and what a threadgroup does and reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.table import Table

from benchmarks.latency import Case
from benchmarks.zero_kernels import kernels_of
from tuner.config import Settings
from tuner.graph.attention_kernel import attention_of
from tuner.graph.norm_product import norm_product_of
from tuner.kernels import attention_tiles, norm_simdgroup, ready_made, simdgroup, written
from tuner.kernels.context import make_target
from tuner.kernels.simdgroup_tiles import Cost, Gpu
from tuner.search.guess import guess
from tuner.targets.presets import Target

GOAL = 80  # launches of an inference of BERT-base


@dataclass(frozen=True)
class Launched:
    """A kernel: how often it is launched, by what schedule, and what the model of the GPU says of a product's."""

    kernel: str
    launches: int
    schedule: str
    cost: Cost | None


def counted(settings: Settings, case: Case, target: Target) -> list[Launched]:
    """The kernels of a case in the order of the model."""
    tvm_target = make_target(target.tvm)
    found = []
    for one in kernels_of(settings, case, target):
        guessed = guess(one.mod, tvm_target)
        cost = _cost(guessed.trace, one.mod, tvm_target) if guessed is not None else None
        found.append(Launched(one.name, one.weight, guessed.trace if guessed is not None else "plain", cost))
    return found


def _cost(trace: str, mod: Any, target: Any) -> Cost | None:
    if written.is_choice(trace):
        choice: Any = written.from_json(trace)
        gpu = simdgroup.gpu_of(target)
        if (attention := attention_of(mod["main"])) is not None:
            return attention_tiles.cost(choice, attention, gpu)
        product = norm_product_of(mod["main"])
        return norm_simdgroup.cost(choice, product, gpu) if product is not None else None
    tile = ready_made.tile_of(trace)
    return simdgroup.cost_of(tile, mod, target) if tile is not None else None


def table(found: list[Launched], target: Target) -> Table:
    """A line a kernel; below, all launches."""
    busy = Gpu().simdgroups_to_be_busy
    lines = Table(title=f"first guesses for {target.name}; a core is busy with {busy} simdgroups", title_style="dim")
    for name in (
        "kernel",
        "launches",
        "schedule",
        "threadgroups",
        "MFLOP each",
        "KiB read each",
        "FLOP / byte",
        "simdgroups",
    ):
        lines.add_column(name, justify="left" if name in ("kernel", "schedule") else "right")
    for one in found:
        figures = ["–"] * 5
        if (cost := one.cost) is not None:
            intensity = cost.flops / cost.read_bytes
            simdgroups = f"{cost.simdgroups}" if cost.simdgroups >= busy else f"[red]{cost.simdgroups}[/]"
            figures = [str(cost.threadgroups), f"{cost.flops / 1e6:.2f}", f"{cost.read_bytes / 1024:.0f}"]
            figures += [f"{intensity:.1f}", simdgroups]
        lines.add_row(one.kernel, str(one.launches), one.schedule, *figures)
    launches = sum(one.launches for one in found)
    lines.add_row("all", f"{launches}" if launches <= GOAL else f"[red]{launches}[/]", "", *[""] * 5)
    return lines
