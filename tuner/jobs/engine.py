"""The engine runs stages and rounds in processes of their own: the ``Engine`` protocol, and Dask behind it.

The engine holds nothing that can't be lost. What a task did is in the database; its outcome only says how it ended.
"""

from __future__ import annotations

import asyncio
import errno
import importlib
import logging
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from distributed import Client, Future, Nanny
from distributed.client import ClosedClientError

from rpc.lean import importing, without_torch
from tuner.config import Settings
from tuner.db.engine import storage_full
from tuner.errors import EngineUnavailable, StageFailed, TunerError
from tuner.jobs import garbage
from tuner.jobs.engine_probe import UNREACHABLE, count_workers
from tuner.jobs.engine_tls import security

log = logging.getLogger(__name__)

STAGES_MODULE = "tuner.jobs.stages"
CALL_TIMEOUT_SEC = 2.0  # of each question to the scheduler, connecting included
RETRY_SEC = 1.0  # nobody is asked for so long after somebody did not answer
SLOTS_MAX_AGE_SEC = 2.0


@dataclass(frozen=True)
class Outcome:
    """How a task ended.

    ``done``: its function returned. ``failed``: it raised; ``error`` is the body of an error answer. ``lost``: its
    process died. ``gone``: the engine knows nothing of it (it was restarted, or the task ended unseen); nobody's fault.
    """

    key: str
    kind: Literal["done", "failed", "lost", "gone"]
    error: dict[str, str] | None = None


class Engine(Protocol):
    """Runs functions of ``tuner.jobs.stages`` by name, each task under a key that its submitter chose.

    All but ``wait`` and ``close`` raise ``EngineUnavailable`` while the engine can't be reached. Once it is back,
    ``poll`` reports what it does not know any more as ``gone``.
    """

    def submit(self, key: str, name: str, **kwargs: str) -> None:
        """Start ``name(settings, **kwargs)``, with the settings of the process that runs it.

        It outlives its submitter: whoever knows the key may adopt it."""

    def adopt(self, keys: Iterable[str]) -> None:
        """Take over tasks that another submitter started; ``poll`` reports the unknown ones ``gone``."""

    def poll(self) -> list[Outcome]:
        """The tasks that ended since the last call, each once."""

    def wait(self, timeout_sec: float) -> None:
        """Return when a task has ended, or after ``timeout_sec``."""

    def cancel(self, key: str) -> None:
        """End a task now, with the process it runs in; it is not reported any more."""

    def slots(self) -> int:
        """How many tasks run at the same time."""

    def close(self) -> None:
        """Let go of the engine; tasks run on."""


class DaskEngine:
    """The ``Engine`` over a Dask scheduler: the service's own (``engine_process``) or one of many machines."""

    def __init__(
        self, address: str, settings: Settings, stages: str = STAGES_MODULE, timeout_sec: float = CALL_TIMEOUT_SEC
    ) -> None:
        """``address`` is the scheduler's (``tls://host:port``); ``stages`` the module whose functions are run;
        ``timeout_sec`` is how long each question to the scheduler may take.

        Raises InvalidInput as ``engine_tls.security`` does.
        """
        self._address = address
        self._security = security(settings)
        self._stages = stages
        self._timeout_sec = timeout_sec
        self._client: Client | None = None
        self._futures: dict[str, Future[Any]] = {}
        self._ready: dict[str, Outcome] = {}
        self._doomed: dict[str, set[str]] = {}  # tasks that are being cancelled, and the workers that run them
        self._ended = threading.Event()
        self._slots = (0.0, 0)  # when, how many
        self._retry_at = 0.0

    def submit(self, key: str, name: str, **kwargs: str) -> None:
        with self._reach() as client:
            future = client.submit(run_stage, self._stages, name, kwargs, key=key, pure=False)
            self._ask(client, client._publish_dataset, future, name=key, override=True)  # else it ends with this client
            self._watch(key, future)

    def adopt(self, keys: Iterable[str]) -> None:
        with self._reach() as client:
            self._adopt(client, keys)

    def poll(self) -> list[Outcome]:
        with self._reach() as client:
            for key, future in list(self._futures.items()):
                if future.status in ("finished", "error"):
                    self._ready[key] = _outcome(key, future)
                    del self._futures[key]
                    self._ask(client, client._unpublish_dataset, key)
                elif future.status != "pending":  # the connection was lost and is back: the task may run still
                    self._adopt(client, [key])
        outcomes = list(self._ready.values())
        self._ready.clear()
        return outcomes

    def wait(self, timeout_sec: float) -> None:
        if self._ended.wait(timeout_sec):
            self._ended.clear()

    def cancel(self, key: str) -> None:
        with self._reach() as client:
            self._ready.pop(key, None)
            if key in self._futures:
                del self._futures[key]
                self._doomed[key] = set()
            if key in self._doomed:
                self._end(client, key, self._doomed[key])
                del self._doomed[key]

    def slots(self) -> int:
        with self._reach() as client:
            read_at, slots = self._slots
            if not slots or time.monotonic() - read_at > SLOTS_MAX_AGE_SEC:
                slots = sum(self._ask_scheduler(client, "ncores").values())
                self._slots = (time.monotonic(), slots)
            return slots

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            _close(client)

    def _end(self, client: Client, key: str, workers: set[str]) -> None:
        """End a task with its process; ``workers`` keeps who runs it when that breaks off and has to be done again."""
        processing = self._ask_scheduler(client, "processing")
        workers.update(worker for worker, keys in processing.items() if key in keys)
        self._ask(client, client._unpublish_dataset, key)
        # Before its process ends, or the scheduler starts it again elsewhere.
        self._ask(client, client._cancel, [Future(key, client=client)], force=True)
        if workers:
            self._ask(client, client._run, _kill_worker, workers=list(workers), nanny=True, on_error="ignore")
            self._await_end(client, workers)

    def _await_end(self, client: Client, workers: set[str]) -> None:
        """Wait until the scheduler has seen that they died, or it would send them the next task."""
        deadline = time.monotonic() + self._timeout_sec
        while workers & set(self._ask_scheduler(client, "ncores")) and time.monotonic() < deadline:
            time.sleep(0.01)
        self._slots = (0.0, 0)

    def _watch(self, key: str, future: Future[Any]) -> None:
        self._futures[key] = future
        future.add_done_callback(lambda _: self._ended.set())

    @contextmanager
    def _reach(self) -> Iterator[Client]:
        """The client, with whatever says that the scheduler went away or stands still turned into
        ``EngineUnavailable``; for a moment after that nobody waits for it again."""
        if time.monotonic() < self._retry_at:
            raise self._unavailable()
        try:
            yield self._connected()
        except (*UNREACHABLE, ClosedClientError) as error:
            self._retry_at = time.monotonic() + RETRY_SEC
            raise self._unavailable() from error

    def _connected(self) -> Client:
        """The client, connected anew if need be; then the tasks of the old connection are looked for."""
        if self._client is None or self._client.status != "running":
            self.close()
            # A client of a scheduler that stands still would never give up.
            if count_workers(self._address, self._security, self._timeout_sec) is None:
                raise ConnectionError("no scheduler answers")
            client = Client(self._address, timeout=self._timeout_sec, set_as_default=False, security=self._security)
            try:
                self._adopt(client, list(self._futures))
            except BaseException:
                _close(client)
                raise
            self._client = client
        return self._client

    def _adopt(self, client: Client, keys: Iterable[str]) -> None:
        known = set(self._ask_scheduler(client, "publish_list"))
        for key in keys:
            if key in known:
                self._ready.pop(key, None)
                self._watch(key, self._ask(client, client._get_dataset, key))
            else:
                self._futures.pop(key, None)
                self._ready[key] = Outcome(key, "gone")

    def _ask(self, client: Client, question: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        """The answer to one question of the client's; Dask's own calls would wait for it for ever.

        Raises:
            asyncio.TimeoutError: there is none.
        """
        return client.sync(question, *args, callback_timeout=self._timeout_sec, **kwargs)

    def _ask_scheduler(self, client: Client, what: str) -> Any:
        return self._ask(client, getattr(client.scheduler, what))

    def _unavailable(self) -> EngineUnavailable:
        return EngineUnavailable(
            f"The engine at {self._address} does not answer.",
            "It is started again by `tunesmith serve`; if TUNER_ENGINE is set, check that its scheduler runs.",
        )


def _close(client: Client) -> None:
    with suppress(asyncio.TimeoutError, OSError):
        client.close(timeout=1)


def run_stage(module: str, name: str, kwargs: dict[str, str]) -> dict[str, str] | None:
    """Run one stage in a worker, by the settings of its own environment: a database's password never travels.

    Returns None, or the body of an error answer: exceptions don't survive every pickle.
    """
    try:
        with importing(), without_torch():  # only who imports a model loads it
            stage = getattr(importlib.import_module(module), name)
        stage(Settings(), **kwargs)
    except TunerError as error:
        log.warning("%s(%s): %s", name, kwargs, error.message)
        return error.as_dict()
    except Exception as error:
        log.exception("%s(%s) failed", name, kwargs)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return storage_full(error.filename or Settings().root).as_dict()
        what = ", ".join(kwargs.values())
        return StageFailed(
            f"{name} of {what} failed: {type(error).__name__}: {error}",
            "The traceback is in the engine's log: run/logs/engine.log in the data directory.",
        ).as_dict()
    finally:
        garbage.collect()
    return None


def _outcome(key: str, future: Future[Any]) -> Outcome:
    """A Dask future that ended, as an outcome."""
    if future.status == "finished":
        error = future.result(timeout=CALL_TIMEOUT_SEC)
        return Outcome(key, "failed", error) if error else Outcome(key, "done")
    why = future.exception(timeout=CALL_TIMEOUT_SEC)  # run_stage never raises: its process died
    log.warning("%s was lost: %r", key, why)
    return Outcome(key, "lost")


def _kill_worker(dask_worker: Nanny) -> None:
    """Runs in a nanny, which starts a new worker right away. Dask can't end a task that runs, only its process."""
    process = dask_worker.process
    if process is not None and process.pid is not None:
        os.kill(process.pid, signal.SIGKILL)
