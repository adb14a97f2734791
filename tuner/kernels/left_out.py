"""Why a record that would be used is not: in the words that manifests and pages say."""

from __future__ import annotations

from typing import Any

from tuner.kernels import ready_made, written
from tuner.kernels.context import Replay
from tuner.kernels.limits import excess

NO_CHOICE = "it is no kernel that this release writes for this target"


def refusal(replay: Replay, trace: str, target: Any) -> str:
    """Why a trace, or the name of a ready-made schedule, makes no schedule on this target."""
    if written.is_choice(trace):
        return NO_CHOICE
    schedule = None if target.kind.name == "llvm" or ready_made.is_name(trace) else replay.traced(trace)
    wish = excess(schedule.mod["main"], target) if schedule is not None else ""
    return f"it wants {wish}" if wish else "it is no schedule of this release's search space"


def in_words(candidate: str, workload: str, reason: str) -> str:
    """A manifest's line on a record, by its candidate, of the workload of this name."""
    return f"record {candidate} of {workload}: {reason}"
