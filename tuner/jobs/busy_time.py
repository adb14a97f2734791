"""How long jobs have tuned: seconds in which at least one of a job's rounds ran, by a clock that never jumps. Pure."""

from __future__ import annotations

from collections import Counter


class BusyTime:
    """One stopwatch a job; rounds that overlap are counted once. Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()
        self._since: dict[str, float] = {}

    def start(self, job_id: str, now: float) -> None:
        """A round of the job begins."""
        if not self._running[job_id]:
            self._since[job_id] = now
        self._running[job_id] += 1

    def end(self, job_id: str, now: float) -> float:
        """A round of the job has ended; returns the busy seconds that were not returned before."""
        if not self._running[job_id]:
            return 0.0
        seconds = now - self._since[job_id]
        self._since[job_id] = now
        self._running[job_id] -= 1
        if not self._running[job_id]:
            del self._running[job_id], self._since[job_id]
        return seconds
