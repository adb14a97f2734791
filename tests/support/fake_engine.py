"""An engine without processes: tasks run inside ``poll``; a stage may also hang or die there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tuner.config import Settings
from tuner.errors import EngineUnavailable, StageFailed, TunerError
from tuner.jobs.engine import Outcome

Stage = Callable[..., None]


class Hangs(Exception):
    """Raised by a stage that goes on for ever."""


class ProcessDied(BaseException):
    """Raised by a stage that takes its process with it."""


@dataclass
class FakeCluster:
    """What outlives an engine's client: the stages by name, the tasks that run or wait to be fetched."""

    stages: dict[str, Stage]
    room: int = 1
    is_down: bool = False
    running: dict[str, Callable[[], None]] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    submitted: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)

    def restart(self) -> None:
        """As a new scheduler: nothing is known any more."""
        self.running.clear()
        self.outcomes.clear()

    def run(self) -> None:
        """Run all that does not hang."""
        for key, task in list(self.running.items()):
            try:
                task()
            except Hangs:
                continue
            except ProcessDied:
                self.outcomes[key] = Outcome(key, "lost")
            except TunerError as error:
                self.outcomes[key] = Outcome(key, "failed", error.as_dict())
            except Exception as error:
                self.outcomes[key] = Outcome(key, "failed", StageFailed(f"{type(error).__name__}: {error}").as_dict())
            else:
                self.outcomes[key] = Outcome(key, "done")
            del self.running[key]


class FakeEngine:
    """An ``Engine`` on a `FakeCluster`."""

    def __init__(self, cluster: FakeCluster, settings: Settings) -> None:
        self._cluster = cluster
        self._settings = settings
        self._watched: set[str] = set()

    def submit(self, key: str, name: str, **kwargs: str) -> None:
        self._reach()
        stage: Any = self._cluster.stages[name]
        self._cluster.submitted.append((name, kwargs))
        self._cluster.running[key] = lambda: stage(self._settings, **kwargs)
        self._watched.add(key)

    def adopt(self, keys: Iterable[str]) -> None:
        self._reach()
        self._watched.update(keys)

    def poll(self) -> list[Outcome]:
        self._reach()
        self._cluster.run()
        ended = [key for key in self._watched if key not in self._cluster.running]
        self._watched.difference_update(ended)
        return [self._cluster.outcomes.pop(key, Outcome(key, "gone")) for key in ended]

    def wait(self, timeout_sec: float) -> None:
        """Nothing happens between two calls of ``poll``."""

    def cancel(self, key: str) -> None:
        self._reach()
        self._watched.discard(key)
        if self._cluster.running.pop(key, None):
            self._cluster.killed.append(key)

    def slots(self) -> int:
        self._reach()
        return self._cluster.room

    def close(self) -> None:
        self._watched.clear()

    def _reach(self) -> None:
        if self._cluster.is_down:
            raise EngineUnavailable("The engine at fake:1 does not answer.", "Start it.")
