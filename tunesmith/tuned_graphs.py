"""Tuned modules of graphs, made in the background and kept by content, so that the next process finds them."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.console import Console

from tuner.artifact import loader
from tuner.artifact.loader import Runner
from tuner.artifact.members import ArtifactError
from tuner.cli.common import settings_with
from tuner.cli.sending import seen_there
from tuner.client.http import Client
from tuner.config import Settings
from tuner.errors import ModelInvalid, NotFound, OperatorsUnsupported, TunerError
from tuner.importers.programs.loading import export_module, save_program
from tuner.ownership import claim
from tuner.schemas import JobOut
from tunesmith.handing_over import Handed, wish_for
from tunesmith.optimizing import service_for, succeeded
from tunesmith.swapping import Swapping

T = TypeVar("T")
log = logging.getLogger("tunesmith")
_turn = threading.Lock()  # one graph after the other: they share the machine
_FOR_GOOD = (ModelInvalid, OperatorsUnsupported)  # what another try would not change


@dataclass(frozen=True)
class Wish:
    """``budget`` as ``tunesmith.optimize`` takes it, and ``service``; ``wait``: until it is tuned."""

    budget: str | int = "express"
    service: str | Client | None = None
    wait: bool = False


class Kept:
    """What is kept of one graph, in the data directory: its module, or why there is none, or the job that makes it."""

    def __init__(self, settings: Settings, key: str) -> None:
        self._settings, folder = settings, settings.graphs_dir
        self.module, self.refusal, self.job = (folder / f"{key}{end}" for end in (".tar", ".refusal", ".job"))

    def loaded(self) -> Runner | None:
        """The module, if it is there and runs here."""
        try:
            runner = loader.load(self.module)
            os.utime(self.module)
        except (ArtifactError, OSError):
            return None
        return runner

    def said(self, file: Path) -> str:
        """What a small file says; empty: it isn't there."""
        return file.read_text() if file.is_file() else ""

    def say(self, file: Path, text: str) -> None:
        """Write it."""
        self.make_room()
        file.write_text(text)

    def make_room(self) -> None:
        """The folder, without the modules that were used longest ago once all take more than imports may."""
        claim(self._settings)
        self.module.parent.mkdir(exist_ok=True)
        files = sorted(self.module.parent.glob("*.tar"), key=lambda file: file.stat().st_mtime)
        over = sum(file.stat().st_size for file in files) - self._settings.cache_bytes
        for file in files:
            if over > 0:
                over -= file.stat().st_size
                file.unlink(missing_ok=True)


def bring(swapping: Swapping, wish: Wish) -> None:
    """See to it that the graph gets its tuned module: at once from what is kept, else by a job."""
    kept = Kept(settings_with(), swapping.captured.key())
    if why := kept.said(kept.refusal):
        swapping.stay(why)
        return
    program = None
    if not kept.module.is_file():
        try:
            program = _apart(lambda: export_module(swapping.captured.closed(), swapping.captured.inputs()))
        except ModelInvalid as error:
            _refuse(swapping, kept, error)
            return
    thread = threading.Thread(target=_bring, args=(swapping, wish, kept, program), name="tunesmith", daemon=True)
    thread.start()
    if wish.wait:
        thread.join()


def _bring(swapping: Swapping, wish: Wish, kept: Kept, program: Any) -> None:
    try:
        runner = kept.loaded()
        if runner is None and program is not None:
            with _turn:
                _tune(wish, kept, program)
            runner = kept.loaded()
        if runner is None:
            swapping.stay("what is kept of it can't be loaded here")
            kept.module.unlink(missing_ok=True)
        else:
            swapping.offer(runner)
            log.info("a tuned module is there: %s", kept.module)
    except TunerError as error:
        _refuse(swapping, kept, error)
    except Exception as error:  # nobody waits for this thread, and PyTorch has the graph
        log.exception("tuning a graph failed")
        swapping.stay(f"tuning it failed: {type(error).__name__} {error}".rstrip("."))


def _tune(wish: Wish, kept: Kept, program: torch.export.ExportedProgram) -> None:
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


def _refuse(swapping: Swapping, kept: Kept, error: TunerError) -> None:
    why = error.message.rstrip(".")
    swapping.stay(why)
    if isinstance(error, _FOR_GOOD):
        with suppress(TunerError, OSError):  # then the next process finds out for itself
            kept.say(kept.refusal, why)


def _apart(call: Callable[[], T]) -> T:
    """The call's result, of a thread that knows nothing of the compilation which is going on in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()
