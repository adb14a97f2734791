"""Brings the files of models that jobs are about to import: beside the engine, once for all jobs of a model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tuner.config import Settings
from tuner.errors import ModelUnreachable, StageFailed, StorageFull
from tuner.importers.fetch_process import Order, Said
from tuner.importers.snapshot import Found
from tuner.importers.source import ModelSource
from tuner.jobs.fetch_child import FetchChild
from tuner.schemas import ErrorBody

log = logging.getLogger(__name__)

AT_ONCE = 2
MAX_DEATHS = 3
LEAST_BYTES = 64 * 1024  # what must come within the deadline, to tell a slow source from one that drips
_ROOM_REST_SEC = 30.0
_TELL_EVERY_SEC = 2.0
_MIB = 2**20

_Key = tuple[str, str, str, str, bool]
Result = Found | ErrorBody


class Child(Protocol):
    """A process that fetches."""

    @property
    def said(self) -> Said: ...

    @property
    def alive(self) -> bool: ...

    def end(self) -> None: ...


@dataclass
class _Fetch:
    """One model's files on their way; ``result`` once that is over."""

    source: ModelSource
    child: Child | None = None
    result: Result | None = None
    deaths: int = 0
    rest_until: float = 0.0
    rest_reason: str = ""
    began_at: float = 0.0
    moved_at: float = 0.0
    moved: Said = field(default_factory=Said)
    told_at: float = float("-inf")
    told: str = ""

    @property
    def is_over(self) -> bool:
        return self.result is not None


class Fetches:
    """What is fetched for which jobs. Nothing here but can be lost: whoever comes next fetches again."""

    def __init__(self, settings: Settings, start: Callable[[Order], Child] = FetchChild) -> None:
        self._settings = settings
        self._start = start
        self._fetches: dict[_Key, _Fetch] = {}
        self._of_job: dict[str, _Key] = {}

    def look(self, now: float, wanted: Mapping[str, ModelSource]) -> None:
        """See how far everything is; ``wanted`` are all jobs that need files, those that come first at their head.

        What no job wants any more is ended at once. ``now`` is monotonic, in seconds.
        """
        self._of_job = {job_id: _key(source) for job_id, source in wanted.items()}
        for key in self._fetches.keys() - set(self._of_job.values()):
            if (child := self._fetches.pop(key).child) is not None:
                child.end()
        for job_id, source in wanted.items():
            fetch = self._fetches.setdefault(self._of_job[job_id], _Fetch(source))
            if fetch.child is not None:
                self._follow(fetch, now)
        for key in dict.fromkeys(self._of_job.values()):
            fetch = self._fetches[key]
            running = sum(one.child is not None for one in self._fetches.values())
            if running < AT_ONCE and fetch.child is None and not fetch.is_over and now >= fetch.rest_until:
                self._begin(fetch, now)

    def result(self, job_id: str) -> Result | None:
        """What was found for a job, or why nothing; None while it is not known."""
        return self._fetches[self._of_job[job_id]].result if job_id in self._of_job else None

    def message(self, job_id: str, now: float) -> str:
        """What the job waits for; empty when it is nothing of ours. It changes every few seconds at most."""
        if job_id not in self._of_job:
            return ""
        fetch = self._fetches[self._of_job[job_id]]
        words = _words(fetch, now)
        is_progress = words.partition(":")[0] == fetch.told.partition(":")[0] and ":" in fetch.told
        if not is_progress or now - fetch.told_at >= _TELL_EVERY_SEC:
            fetch.told_at, fetch.told = now, words
        return fetch.told

    def __bool__(self) -> bool:
        return bool(self._fetches)

    def close(self) -> None:
        """End everything."""
        self.look(0.0, {})

    def _begin(self, fetch: _Fetch, now: float) -> None:
        settings = self._settings
        order = Order(
            source=fetch.source,
            root=settings.sources_dir,
            most_bytes=settings.max_model_bytes,
            least_free_bytes=settings.min_free_bytes,
            quiet_lock=settings.quiet_lock,
        )
        fetch.began_at = fetch.moved_at = now
        fetch.moved = Said()
        try:
            fetch.child = self._start(order)
        except OSError:  # the machine has no process or no memory left for it just now
            log.exception("no process can be started to fetch %s", fetch.source.name)
            self._note_death(fetch, now)

    def _follow(self, fetch: _Fetch, now: float) -> None:
        assert fetch.child is not None
        alive, said = fetch.child.alive, fetch.child.said  # in this order: what it says last is said before it ends
        if said.found is not None:
            fetch.child, fetch.result = None, said.found
        elif said.error is not None:
            fetch.child = None
            if said.error.code == StorageFull.code:
                fetch.rest_until = now + _ROOM_REST_SEC
                fetch.rest_reason = f"waiting for room on the disk: {said.error.message} {said.error.hint}"
            else:
                fetch.result = said.error
        elif not alive:
            self._note_death(fetch, now)
        elif now - fetch.began_at > self._settings.fetch_timeout_sec:
            fetch.child.end()
            fetch.child, fetch.result = None, _body(_too_slow(fetch, self._settings.fetch_timeout_sec))
        elif said.total != fetch.moved.total or said.done - fetch.moved.done >= LEAST_BYTES:
            fetch.moved, fetch.moved_at = said, now
        elif now - fetch.moved_at > self._settings.fetch_stall_sec:
            fetch.child.end()
            fetch.child, fetch.result = None, _body(_stalled(fetch, self._settings.fetch_stall_sec))

    def _note_death(self, fetch: _Fetch, now: float) -> None:
        fetch.child = None
        fetch.deaths += 1
        fetch.rest_until, fetch.rest_reason = now + 2.0**fetch.deaths, "waiting to fetch the model's files again"
        log.warning("the process that was to fetch %s is gone", fetch.source.name)
        if fetch.deaths >= MAX_DEATHS:
            fetch.result = _body(
                StageFailed(
                    f"The process that fetched {fetch.source.name} died {fetch.deaths} times in a row.",
                    "See run/logs/coordinator.log in the data directory.",
                )
            )


def _key(source: ModelSource) -> _Key:
    return source.source, source.location, source.revision, source.stamp, source.allow_pickle


def _words(fetch: _Fetch, now: float) -> str:
    source, said = fetch.source, fetch.child.said if fetch.child else fetch.moved
    if fetch.child is None:
        return fetch.rest_reason if now < fetch.rest_until else "waiting for other models to be fetched"
    doing = f"downloading {source.location}" if source.is_on_hub else f"copying the files of {source.name}"
    if not said.total:
        return doing
    return f"{doing}: {_so_far(said)}"


def _so_far(said: Said) -> str:
    return f"{said.done / _MIB:,.0f} of {said.total / _MIB:,.0f} MiB"


def _too_slow(fetch: _Fetch, seconds: float) -> ModelUnreachable:
    return ModelUnreachable(
        f"The files of {fetch.source.name} took longer than {seconds:g} s (TUNER_FETCH_TIMEOUT_SEC); "
        f"{_so_far(fetch.moved)} were here.",
        "Raise the setting, or download the model elsewhere and give its folder.",
    )


def _stalled(fetch: _Fetch, seconds: float) -> ModelUnreachable:
    return ModelUnreachable(
        f"Nothing more of {fetch.source.name} came within {seconds:g} s; {_so_far(fetch.moved)} were here.",
        "Submit it again when its hub or its disk answers, or give a local folder.",
    )


def _body(error: ModelUnreachable | StageFailed) -> ErrorBody:
    return ErrorBody(**error.as_dict())
