"""The tasks that the engine runs for the coordinator: submitted, adopted, ended; nothing here but can be lost."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Collection, Iterable

from tuner.errors import EngineUnavailable
from tuner.jobs.engine import Engine, Outcome
from tuner.jobs.tasks import Task

log = logging.getLogger(__name__)


class Flight:
    """What is in the air, by key. A task that is to end counts as running until the engine has confirmed its end."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tasks: dict[str, Task] = {}
        self._ending: dict[str, Task] = {}
        self._outcomes: deque[Outcome] = deque()
        self._to_adopt: list[Task] | None = None
        self.slots = 0
        self.workers: int | None = None  # the same, as far as the engine answers
        self.problem = ""  # why the engine runs nothing, for people; empty when it does

    def begin(self, found: Iterable[Task]) -> None:
        """Forget everything, and adopt what a predecessor left running as soon as the engine can be reached."""
        self._tasks.clear()
        self._ending.clear()
        self._outcomes.clear()
        self._to_adopt = list(found)

    def of(self, job_id: str) -> tuple[Task, ...]:
        """The job's tasks."""
        return tuple(task for task in self._tasks.values() if task.job_id == job_id)

    def occupying(self) -> Collection[Task]:
        """All tasks that may take room and devices."""
        return [*self._tasks.values(), *self._ending.values()]

    def strays(self, job_ids: Collection[str]) -> tuple[str, ...]:
        """Keys of tasks of other jobs than these."""
        return tuple(task.key for task in self._tasks.values() if task.job_id not in job_ids)

    def __bool__(self) -> bool:
        return bool(self._tasks or self._ending or self._to_adopt)

    def reach(self) -> None:
        """Adopt what is left to adopt, end what is left to end, take in what ended; say when that can't be done."""
        try:
            if self._to_adopt is not None:
                self._engine.adopt([task.key for task in self._to_adopt])
                self._tasks.update({task.key: task for task in self._to_adopt})
                self._to_adopt = None
            for key in list(self._ending):
                self._engine.cancel(key)
                del self._ending[key]
            self._outcomes.extend(self._engine.poll())
            self.workers = self.slots = self._engine.slots()
            self.problem = "" if self.slots else "waiting for a worker of the engine"
        except EngineUnavailable as error:
            self.workers = None
            self.problem = f"waiting for the engine: {error.message} {error.hint}"

    def next_ended(self) -> tuple[Task, Outcome] | None:
        """The oldest end that was not ``settle``d yet; it stays the next until then."""
        while self._outcomes:
            outcome = self._outcomes[0]
            if outcome.key in self._tasks:
                return self._tasks[outcome.key], outcome
            self._outcomes.popleft()
        return None

    def settle(self, key: str) -> None:
        """What the end of this task means is written down."""
        self._tasks.pop(key, None)
        self._outcomes = deque(outcome for outcome in self._outcomes if outcome.key != key)

    def submit(self, task: Task, name: str, **kwargs: str) -> None:
        """Start a task. One that the engine could not be told of ends as ``gone``. Raises EngineUnavailable."""
        self._tasks[task.key] = task
        try:
            self._engine.submit(task.key, name, **kwargs)
        except EngineUnavailable:
            self._outcomes.append(Outcome(task.key, "gone"))
            raise

    def end(self, key: str) -> Task:
        """End a task with its process, now or as soon as the engine can be reached."""
        task = self._tasks.pop(key)
        self._outcomes = deque(outcome for outcome in self._outcomes if outcome.key != key)
        try:
            self._engine.cancel(key)
        except EngineUnavailable as error:
            log.warning("%s is to be ended, but %s", key, error.message)
            self._ending[key] = task
        return task

    def close(self) -> None:
        """Let go of the engine; tasks run on."""
        self._engine.close()
