"""``python -m benchmarks.replay LOG``: search strategies compared on recorded measurements, without a device.

``LOG`` is what ``benchmarks.recording`` or ``tunesmith records export`` writes, gzipped or not. All strategies order
the same candidates: stock may choose our tiles, which it would not make, but nothing that it would evolve. Seconds are
those a strategy takes to decide, here and now, and those its candidates' measured runs took; making them is left out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.table import Table

from benchmarks import report, strategies
from rpc.facts import device_facts
from tuner.cli.common import console, notes, run_app
from tuner.config import Settings
from tuner.db import log
from tuner.db.engine import make_engine
from tuner.db.migrate import upgrade
from tuner.errors import InvalidInput
from tuner.search.replay import Recording, Step, Strategy, recordings, replay, trials_to

NAMES = {"ours": "TuneSmith", "stock": "stock settings", "random": "random order"}
COLOURS = {"ours": "#c2410c", "stock": "#2563eb", "random": "#6b7280"}
GOAL = 1.05  # times the best time on record: good enough
MIN_CANDIDATES = 32


def main(
    records: Annotated[Path, typer.Argument(metavar="LOG", help="A records log with many records of a workload.")],
    workloads: Annotated[int, typer.Option(help="How many workloads, those with most records.")] = 3,
    seeds: Annotated[int, typer.Option(help="Replays of each strategy, with different random choices.")] = 5,
) -> None:
    """Replay a log by each strategy; writes benchmarks/out/replay.json and a plot of each workload."""
    found = [one for one in recordings_of(records) if len(one.candidates) >= MIN_CANDIDATES][:workloads]
    if not found:
        raise InvalidInput(
            f"{records} has no workload with {MIN_CANDIDATES} records or more.",
            "Export one from a service that tuned: tunesmith records export",
        )
    results = []
    for recording in found:
        with notes.status(f"{recording.name}: {len(recording.candidates)} records"):
            runs = replays(recording, seeds)
        plot(recording, runs, report.OUT / f"replay-{recording.workload_id}")
        results.append(
            {
                "workload": recording.workload_id,
                "name": recording.name,
                "summary": recording.summary,
                "records": len(recording.candidates),
                "best_us": recording.best_sec * 1e6,
                "trials_to_goal": {name: goal_trials(recording, steps) for name, steps in runs.items()},
                "runs": {name: [[asdict(step) for step in one] for one in steps] for name, steps in runs.items()},
            }
        )
    circumstances = report.circumstances(device_facts()["cpu"])
    path = report.save("replay", {**circumstances, "goal": GOAL, "seeds": seeds, "workloads": results})
    console.print(table(results))
    console.print(f"written to {report.shown(path)}, plots beside it", style="dim", soft_wrap=True)


def recordings_of(path: Path) -> list[Recording]:
    """What a records log holds, failed candidates too."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        upgrade(settings)
        engine = make_engine(settings)
        try:
            with path.open("rb") as file:
                log.import_file(engine, file)
            return recordings(engine)
        finally:
            engine.dispose()


def replays(recording: Recording, seeds: int) -> dict[str, list[list[Step]]]:
    """The steps of each strategy's replays, a replay per seed."""
    pool = strategies.Pool(recording)
    made: dict[str, tuple[Callable[[strategies.Pool, int], Strategy], int]] = {
        "ours": (strategies.OurSearch, strategies.OUR_BATCH),
        "stock": (strategies.stock, strategies.STOCK_BATCH),
        "random": (strategies.AtRandom, strategies.OUR_BATCH),
    }
    return {
        name: [replay(make(pool, seed), recording, batch) for seed in range(seeds)]
        for name, (make, batch) in made.items()
    }


def goal_trials(recording: Recording, runs: list[list[Step]]) -> float:
    """Median trials until within ``GOAL`` of the best on record; a run that never gets there counts as all trials."""
    goal = recording.best_sec * GOAL
    return median(found if (found := trials_to(steps, goal)) else len(recording.candidates) for steps in runs)


def table(results: list[dict[str, Any]]) -> Table:
    """Trials each strategy needs, a line per workload."""
    found = Table(
        title=f"median trials to {GOAL - 1:.0%} of the best on record", title_style="dim", header_style="bold"
    )
    found.add_column("workload", no_wrap=True)
    for name in ("records", "best µs", *NAMES.values()):
        found.add_column(name, justify="right")
    for one in results:
        trials = [f"{one['trials_to_goal'][name]:.0f}" for name in NAMES]
        found.add_row(one["name"], str(one["records"]), f"{one['best_us']:.0f}", *trials)
    return found


def plot(recording: Recording, runs: dict[str, list[list[Step]]], path: Path) -> None:
    """Best so far against trials and against seconds, a thin line per run, as ``path`` .svg and .png."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4), sharey=True)
    axis_of: list[tuple[Any, str, Callable[[Step], float]]] = [
        (axes[0], "trials", lambda step: step.trials),
        (axes[1], "seconds of deciding and measuring", lambda step: step.spent_sec),
    ]
    for axis, label, position in axis_of:
        for name, steps_of_runs in runs.items():
            for number, steps in enumerate(steps_of_runs):
                known = [(position(step), step.best_sec * 1e6) for step in steps if step.best_sec is not None]
                axis.step(
                    *zip(*known, strict=True),
                    where="post",
                    color=COLOURS[name],
                    alpha=0.6,
                    linewidth=1.2,
                    label=NAMES[name] if number == 0 else None,
                )
        axis.axhline(recording.best_sec * 1e6, color="#9ca3af", linestyle=":", linewidth=1)
        axis.set_xlabel(label)
        axis.set_yscale("log")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("best so far, µs")
    axes[0].legend(frameon=False)
    figure.suptitle(f"{recording.name}: {len(recording.candidates)} recorded candidates")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    for suffix in (".svg", ".png"):
        figure.savefig(path.with_suffix(suffix), dpi=130)
    pyplot.close(figure)


if __name__ == "__main__":
    run_app(lambda: typer.run(main))
