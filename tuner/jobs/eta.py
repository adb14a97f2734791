"""How long tuning will go on: a band, from the earliest stop the planner may come to, to the end of the budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tuner.schemas import JobOut
from tuner.search.planner import Budget, Stop, WorkloadState, plan

_UNITS = ((90.0, 1.0, "s"), (90.0 * 60, 60.0, "min"), (math.inf, 3600.0, "h"))  # up to, seconds, name


@dataclass(frozen=True)
class Band:
    """Seconds that are left, at least and at most."""

    low_sec: float
    high_sec: float


def fewest_trials(workloads: Sequence[WorkloadState], budget: Budget) -> int:
    """Trials until the planner stops if no candidate is better than what is known now."""
    known = {one.workload_id: one for one in workloads}
    spent = 0
    while True:
        left = replace(budget, trials_left=budget.trials_left - spent, seconds_left=None)
        rounds = plan(list(known.values()), left, devices=len(known))
        if isinstance(rounds, Stop):
            return spent
        for one in rounds:
            known[one.workload_id] = _fruitless(known[one.workload_id], one.batch)
            spent += one.batch


def band(
    trials_left: int, fewest_left: int, seconds_left: float | None, rounds: int, sec_per_trial: float | None
) -> Band | None:
    """What is left of tuning after so many ``rounds``; None when nothing limits it that is known.

    Seconds per trial differ between workloads by about as much as they take, so their mean over n rounds is in doubt by
    1/sqrt(n). ``seconds_left`` is what the time budget leaves, None without one.
    """
    low_sec, high_sec = 0.0, math.inf
    if sec_per_trial is not None and rounds:
        doubt = 1 + 1 / math.sqrt(rounds)
        low_sec = fewest_left * sec_per_trial / doubt
        high_sec = trials_left * sec_per_trial * doubt
    if seconds_left is not None:
        high_sec = min(high_sec, seconds_left)
    if high_sec == math.inf:
        return None
    high_sec = max(0.0, high_sec)
    return Band(min(low_sec, high_sec), high_sec)


def time_left(job: JobOut) -> str:
    """``2 to 5 min left`` of tuning, in the unit of the longer, rounded outwards; empty when nobody knows."""
    low_sec, high_sec = job.eta_low_sec, job.eta_high_sec
    if low_sec is None or high_sec is None:
        return ""
    unit_sec, name = next((unit, name) for below, unit, name in _UNITS if high_sec < below)
    low, high = math.floor(low_sec / unit_sec), max(1, math.ceil(high_sec / unit_sec))
    if low == 0:
        return f"at most {high} {name} left"
    return f"about {high} {name} left" if low == high else f"{low} to {high} {name} left"


def _fruitless(one: WorkloadState, batch: int) -> WorkloadState:
    """The workload after a round that found nothing better."""
    trials = one.trials + batch
    best = one.history[-1:]
    return replace(one, trials=trials, history=(*one.history, *((trials, best_us) for _, best_us in best)))
