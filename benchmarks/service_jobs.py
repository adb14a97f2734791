"""Jobs through the real service of a data directory, as the demo runs them, and compiles from what it knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rpc.facts import device_facts
from tuner.cli import words
from tuner.cli.common import checked, notes
from tuner.cli.progress import watch
from tuner.cli.sending import absolute_if_folder
from tuner.client.http import Client
from tuner.config import Settings
from tuner.errors import StageFailed
from tuner.importers.source import ModelSource
from tuner.schemas import BudgetIn, JobIn, JobOut
from tuner.targets import presets

DATA_DIR = Path(".tunesmith") / "bench"


def budget(trials: int | None, minutes: float | None) -> BudgetIn:
    """What the command line asked for; the express budget when it said nothing."""
    return BudgetIn(preset="express" if trials is None and minutes is None else None, trials=trials, minutes=minutes)


def submit(client: Client, model: str, wish: BudgetIn, **shape: Any) -> JobOut:
    """Submit one job, and say so; ``shape`` and what else is to be said are ``JobIn``'s."""
    job = client.submit(checked(JobIn, {"model": absolute_if_folder(model), "budget": wish, **shape}))
    notes.print(f"{job.id}: {job.model}, {words.shape(job)}", highlight=False)
    return job


def finish(client: Client, job: JobOut) -> JobOut:
    """Show a job's progress until it has succeeded. Raises StageFailed with its error when it has not."""
    ended = watch(client.progress(job.id), notes)
    if ended.state != "succeeded":
        reason = ended.error
        raise StageFailed(
            f"{ended.id} was {ended.state}" + (f": {reason.message}" if reason else "."), reason.hint if reason else ""
        )
    return ended


def artifact_of(settings: Settings, job: JobOut) -> Path:
    """The tar of a job that has succeeded, where the service keeps it: a part of its checksum is in its name."""
    return max(settings.artifacts_dir.glob(f"{job.artifact_id}*.tar"), key=lambda path: path.stat().st_mtime)


def compiled(settings: Settings, source: ModelSource, batch: int, seq_len: int, out: Path) -> Path:
    """The artifact of a model for this machine by the records that the settings lead to, without a job."""
    from tuner.jobs.standalone import Order, compile_model  # loads TVM, of which those who ask for jobs know nothing

    target = presets.resolve("local", settings.device_key, device_facts())
    compile_model(settings, Order(source, target, batch, seq_len), out, lambda line: notes.print(line, highlight=False))
    return out
