"""Where in a job's life faults fall: pure. Left to time alone, most would fall into the stage that takes longest."""

from __future__ import annotations

from collections import Counter

SHARES = {
    "importing": 0.1,
    "extracting": 0.1,
    "tuning": 0.4,
    "compiling": 0.15,
    "verifying": 0.1,
    "benchmarking": 0.15,
}
_PATIENCE = 6.0


class Spread:
    """Counts the faults of each stage, and says how soon the next is due."""

    def __init__(self) -> None:
        self.fallen: Counter[str] = Counter()

    def note(self, state: str) -> None:
        """One more has fallen while the job was in this state."""
        self.fallen[_stage(state)] += 1

    def pauses(self, state: str) -> float:
        """How many of the usual pauses to wait after the last fault for one in this state.

        Fewer where too few have fallen; where there were enough, so many that the job comes to its next stage, if it
        goes on at all.
        """
        missing = SHARES.get(_stage(state), 0.0) * (self.fallen.total() + 1) - self.fallen[_stage(state)]
        if missing <= 0:
            return _PATIENCE
        return 0.5 if missing > 1 else 1.0


def _stage(state: str) -> str:
    return "tuning" if state == "paused" else state
