"""``python -m benchmarks.in_torch ARTIFACT``: what the module in PyTorch costs over the artifact."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.table import Table

from benchmarks import report
from rpc.facts import device_facts
from tuner.cli.common import console, notes, run_app


def main(
    artifact: Annotated[Path, typer.Argument(help="The tar or its unpacked folder.")],
    calls: Annotated[int, typer.Option(min=10, help="Calls of each, in turns.")] = 200,
    length: Annotated[int, typer.Option(min=1, help="Tokens of the text, where an artifact takes any.")] = 32,
) -> None:
    """Time ``load(...).run`` and ``load(...).as_torch()`` on the same inputs, one call of each in turns."""
    import numpy as np
    import torch

    import tunesmith

    loaded = tunesmith.load(artifact)
    shape = (1, length) if loaded.manifest.get("texts") else tuple(loaded.inputs[0]["shape"])
    arrays = {name: np.ones(shape, np.int32) for name in ("input_ids", "attention_mask")}
    if not loaded.manifest.get("texts"):
        arrays |= {spec["name"]: np.zeros(shape, np.int32) for spec in loaded.inputs if spec["name"] not in arrays}
    module, tensors = loaded.as_torch(), {name: torch.from_numpy(value) for name, value in arrays.items()}
    with torch.inference_mode():
        times = in_turns({"run": lambda: loaded.run(**arrays), "as_torch": lambda: module(**tensors)}, calls)
    rows = {name: median(values) for name, values in times.items()}
    differences = [ours - plain for plain, ours in zip(times["run"], times["as_torch"], strict=True)]
    facts = report.circumstances(device_facts()["cpu"])
    body = facts | {"shape": list(shape), "calls": calls, "median_ms": rows, "overhead_ms": median(differences)}
    notes.print(f"wrote {report.shown(report.save('in_torch', body))}", highlight=False)
    table = Table("call", "median", box=None, pad_edge=False)
    for name, value in rows.items():
        table.add_row(name, f"{value:.3f} ms")
    console.print(table, f"as_torch costs {median(differences):+.3f} ms a call", report.footer(facts), sep="\n")


def in_turns(contestants: dict[str, Callable[[], Any]], calls: int) -> dict[str, list[float]]:
    """Milliseconds of each call, after some that are not counted."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(calls + 10):
        for name, call in contestants.items():
            start = time.perf_counter()
            call()
            if turn >= 10:
                times[name].append((time.perf_counter() - start) * 1e3)
    return times


if __name__ == "__main__":
    run_app(lambda: typer.run(main))
