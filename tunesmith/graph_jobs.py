"""A graph's tuned module made by a job: of the service that runs here, another, or one for as long as it takes."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from rich.console import Console
from torch.export import ExportedProgram

from tuner.cli.sending import seen_there
from tuner.client.http import Client
from tuner.errors import NotFound
from tuner.importers.programs.loading import save_program
from tuner.schemas import JobOut
from tunesmith.handing_over import Handed, wish_for
from tunesmith.optimizing import service_for, succeeded
from tunesmith.tuned_graphs import Kept, Wish

log = logging.getLogger("tunesmith")


def tune(wish: Wish, kept: Kept, program: ExportedProgram) -> None:
    """Have a job make the module: the one that an earlier process left on its way, else a new one."""
    folder = tempfile.TemporaryDirectory(prefix="tunesmith-")
    with folder as scratch, service_for(wish.service, Console(quiet=True)) as client:
        job = _left_by_another(client, kept)
        if job is None:
            file = save_program(program, Path(scratch, "graph.pt2"))
            handed = Handed(seen_there(client, str(file), allow_pickle=False), "graph", is_program=True)
            job = client.submit(wish_for(handed, budget=wish.budget))
            kept.say(kept.job, job.id)
        for now in client.progress(job.id):
            log.info("%s: %s", now.id, now.state)
            job = now
        client.download(succeeded(job).id, kept.module)
    kept.job.unlink(missing_ok=True)


def _left_by_another(client: Client, kept: Kept) -> JobOut | None:
    try:
        job = client.job(kept.said(kept.job)) if kept.said(kept.job) else None
    except NotFound:
        return None
    return job if job and job.state not in ("failed", "cancelled") else None
