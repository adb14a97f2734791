"""What the engine runs for a job: a stage, or a round."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

from tuner.db.jobs import ActiveJob
from tuner.db.models import Job
from tuner.schemas import JobState
from tuner.state import STAGES

V = TypeVar("V")

NEEDS_DEVICE: frozenset[JobState] = frozenset({"extracting", "tuning", "compiling"})  # they measure
RUNS_MODULE: frozenset[JobState] = frozenset({"verifying", "benchmarking"})  # here, or on a remote device


@dataclass(frozen=True)
class Task:
    """A stage or a round that the engine runs; ``since`` is when it was submitted, in seconds of a monotonic clock."""

    key: str
    job_id: str
    since: float
    stage: str = ""
    workload_id: str = ""
    batch: int = 0
    device_key: str = ""

    @property
    def is_round(self) -> bool:
        """A round's key is the id of its row."""
        return not self.stage

    @property
    def name(self) -> str:
        """How people call it."""
        return self.stage or "a round"


def needs_device(state: JobState, remote: bool, compile_only: bool = False) -> bool:
    """Does a job in this state use its device? The finished module runs in the engine, or on a ``remote`` device."""
    return not compile_only and (state in NEEDS_DEVICE or (remote and state in RUNS_MODULE))


def stage_key(job: Job | ActiveJob) -> str:
    """The engine's key for the stage that a job is in: the same until the process that ran it has died."""
    return f"{job.id}/{STAGES[job.state]}/{job.attempts}"  # type: ignore[index]


def only(kept: Mapping[str, V], job_ids: Collection[str]) -> dict[str, V]:
    """What is kept of these jobs."""
    return {job_id: value for job_id, value in kept.items() if job_id in job_ids}
