"""Tuned modules of graphs, made in the background and kept by content, so that the next process finds them."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rpc.lean import importing
from tuner.artifact import loader
from tuner.artifact.loader import Runner
from tuner.artifact.members import ArtifactError
from tuner.config import Settings, settings_with
from tuner.errors import ModelInvalid, OperatorsUnsupported, TunerError
from tuner.ownership import claim
from tunesmith.swapping import Swapping

if TYPE_CHECKING:
    from tuner.client.http import Client

T = TypeVar("T")
log = logging.getLogger("tunesmith")
_turn = threading.Lock()  # one graph after the other: they share the machine
_FOR_GOOD = (ModelInvalid, OperatorsUnsupported)  # what another try would not change


@dataclass(frozen=True)
class Wish:
    """``budget`` as ``tunesmith.optimize`` takes it, and ``service``; ``wait``: until it is tuned; ``meanwhile``: the
    backend of PyTorch that computes the graph until then."""

    budget: str | int = "express"
    service: str | Client | None = None
    wait: bool = False
    meanwhile: str | Callable[..., Any] = "eager"


class Kept:
    """What is kept of one graph, in the data directory: its module, or why there is none, or the job that makes it."""

    def __init__(self, settings: Settings, key: str) -> None:
        self._settings, folder = settings, settings.graphs_dir
        self.module, self.refusal, self.job = (folder / f"{key}{end}" for end in (".tar", ".refusal", ".job"))

    def loaded(self) -> Runner | None:
        """The module, if it is there and runs here."""
        try:
            with importing():
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


def get_ready() -> None:
    """Import TVM, where any module is kept that is to run soon: beside PyTorch's compiler, which is all Python too, it
    would take longer."""
    if any(settings_with().graphs_dir.glob("*.tar")):
        with importing():
            import tvm.relax  # noqa: F401


def bring(swapping: Swapping, wish: Wish) -> None:
    """See to it that the graph gets its tuned module: at once from what is kept, else by a job."""
    kept = Kept(settings_with(), swapping.captured.key())
    if why := kept.said(kept.refusal):
        swapping.stay(why)
        return
    program = None
    if not kept.module.is_file():
        from tuner.importers.programs.loading import export_module  # seconds, of which who has a module knows nothing

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
            from tunesmith.graph_jobs import tune

            with _turn:
                tune(wish, kept, program)
            runner = kept.loaded()
        if runner is None:
            swapping.stay("what is kept of it can't be loaded here")
            if threading.main_thread().is_alive():  # what ends a program meanwhile makes no module a bad one
                kept.module.unlink(missing_ok=True)
        else:
            swapping.offer(runner)
            log.info("a tuned module is there: %s", kept.module)
    except TunerError as error:
        _refuse(swapping, kept, error)
    except Exception as error:  # nobody waits for this thread, and PyTorch has the graph
        log.exception("tuning a graph failed")
        swapping.stay(f"tuning it failed: {type(error).__name__} {error}".rstrip("."))


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
