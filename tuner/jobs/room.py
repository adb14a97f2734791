"""Who gets the engine's room: slots, tasks, devices and turns in, the job to start next out. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tuner.jobs.tasks import Task
from tuner.state import STAGES


@dataclass(frozen=True)
class Applicant:
    """A job that wants room for its next task; ``turn`` numbers the last start it got, 0 for none, ``place``
    the jobs by their age, the oldest first.

    ``ahead`` is how many tasks more than devices its device takes: a remote one has a round waiting, which searches.
    """

    job_id: str
    priority: int
    turn: int
    place: int
    task: Task
    ahead: int = 0


@dataclass(frozen=True)
class Room:
    """What the engine has: its slots, the devices of each key that can take work, and the key of the device (empty:
    none) that its workers share a machine with."""

    slots: int
    devices: Mapping[str, int]
    own_device: str = ""

    def is_full(self, running: Collection[Task]) -> bool:
        """Does every slot run something?"""
        return len(running) >= self.slots

    def next(self, applicants: Collection[Applicant], running: Collection[Task]) -> Applicant | None:
        """Who starts now, if anybody: by priority, then by how long ago the last turn was, then by age.

        One that has to be alone on the machine, and is not, keeps all others waiting: who came after it would keep it
        from ever being alone. One whose device is busy does not.
        """
        if self.is_full(running):
            return None
        for one in sorted(applicants, key=lambda one: (-one.priority, one.turn, one.place)):
            if self.own_device and not fits_beside(one.task, running, self.own_device):
                return None
            if self._has_device(one, running):
                return one
        return None

    def _has_device(self, one: Applicant, running: Collection[Task]) -> bool:
        key = one.task.device_key
        return not key or sum(task.device_key == key for task in running) < self.devices.get(key, 0) + one.ahead


def fits_beside(task: Task, running: Collection[Task], local_key: str) -> bool:
    """May a task start beside those that run? What is timed on this machine (device ``local_key``) is alone on it."""
    return not running or not any(_is_timed_here(one, local_key) for one in (task, *running))


def _is_timed_here(task: Task, local_key: str) -> bool:
    return task.device_key == local_key or (task.stage == STAGES["benchmarking"] and not task.device_key)
