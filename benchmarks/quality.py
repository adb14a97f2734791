"""``python -m benchmarks.quality JOB``: how good a job's module was expected to be after some minutes of tuning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from benchmarks import report, service_jobs
from rpc.facts import device_facts
from tuner.cli.common import console, run_app, settings_with
from tuner.cli.words import milliseconds
from tuner.db import events, jobs
from tuner.db.engine import make_engine, read
from tuner.errors import InvalidInput
from tuner.schemas import CurvePoint

MINUTES = (1.0, 2.0, 5.0, 10.0)


def main(
    job_id: Annotated[str, typer.Argument(metavar="JOB", help="Id of a job that has tuned; best a cold one.")],
    data_dir: Annotated[Path, typer.Option(help="The data of the service that ran it.")] = service_jobs.DATA_DIR,
) -> None:
    """Read a job's curve; writes benchmarks/out/quality.json."""
    engine = make_engine(settings_with(data_dir=data_dir))
    with read(engine) as session:
        job = jobs.get(session, job_id)
        curve = [CurvePoint.model_validate(point) for point in events.curve(session, job_id)]
    rows = time_to_quality(curve)
    if not rows:
        raise InvalidInput(f"{job_id} has not tuned yet.", "Name a job whose curve has points.")
    facts = report.circumstances(device_facts()["cpu"])
    path = report.save(
        "quality",
        {"job": job_id, "cold": job.cold, "batch": job.batch, "seq": job.seq_len, "measured_ms": job.latency_ms}
        | {"curve": rows}
        | facts,
    )
    console.print(table(rows))
    console.print(f"written to {report.shown(path)}", style="dim", soft_wrap=True)


def time_to_quality(curve: Sequence[CurvePoint], minutes: Sequence[float] = MINUTES) -> list[dict[str, Any]]:
    """Best predicted ms after each of these minutes that the job lasted, and at its end; ``behind`` is what it was
    slower than at the end, as a part of one."""
    known = sorted((point for point in curve if point.predicted_ms is not None), key=lambda point: point.t_sec)
    if not known:
        return []
    final = min(point.predicted_ms or 0.0 for point in known)
    ends = [m * 60 for m in minutes if known[0].t_sec <= m * 60 < known[-1].t_sec] + [known[-1].t_sec]
    rows = []
    for end in ends:
        reached = [point for point in known if point.t_sec <= end]
        best = min(point.predicted_ms or 0.0 for point in reached)
        rows.append(
            {"minutes": end / 60, "trials": reached[-1].trials, "predicted_ms": best, "behind": best / final - 1}
        )
    return rows


def table(rows: list[dict[str, Any]]) -> Table:
    """A line per moment."""
    found = Table(header_style="bold")
    for name in ("minutes of tuning", "trials", "best predicted", "behind its end"):
        found.add_column(name, justify="right")
    for row in rows:
        latency = milliseconds(row["predicted_ms"])
        found.add_row(f"{row['minutes']:.1f}", str(row["trials"]), latency, f"{row['behind']:.1%}")
    return found


if __name__ == "__main__":
    run_app(lambda: typer.run(main))
