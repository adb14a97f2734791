"""Decides which workloads the next rounds tune: a pure function of what is known, after Ansor's task scheduler.

The objective is the latency of the whole model, f = sum of weight x latency. Ansor gives the next batch to the task
with the steepest expected fall of f (Zheng et al., "Ansor", OSDI 2020, section 6; TVM's ``gradient_based``). Three
things differ, all for small budgets: the fall is taken per second instead of per batch, the first pass is sized by each
workload's expected share instead of a full batch each, and the search ends when no fall worth having is expected.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

BACKWARD_SHARE = 0.2  # alpha of the paper: how much the past slope counts against the hoped-for fall
SIMILAR_MARGIN = 2.0  # beta of the paper: a workload should come within this factor of its kind's best FLOP/s
WINDOW = 3  # rounds the backward slope looks at
PATIENCE = 0.75  # full batches without a better candidate that halve the hope
EXPLORE = 0.05  # epsilon: part of the rounds that go to a random workload
MIN_GAIN = 0.001  # of the model's latency, expected from one round; below it tuning ends
REOPEN = 5.0  # times that, for a workload that an earlier job has left: what it gave up is not taken up for a trifle
MATTERS = 0.003  # of the model's latency; a workload that can't win this much gets no minimum
WARM_UP_SHARE = 0.5  # of the trial budget that the first pass may take
MIN_BATCH = 4
ROUND_OVERHEAD_SEC = 2.5  # search set-up, refit and lease of one round
DEFAULT_SEC_PER_TRIAL = 0.4

# Priors of a workload nobody has measured, of an ordinary core. Only ratios matter: they are scaled to measurements.
PEAK_FLOPS_PER_US = 1e5
PEAK_BYTES_PER_US = 2e4
LAUNCH_US = 2.0
UNTRIED_HOPE = 1.5  # times faster than its plain schedule that any workload may become
UNTUNED_FACTOR = 20.0  # how much slower than that an unscheduled kernel is
DENSE = 4.0  # FLOPs per byte from which a workload is worth a full batch


@dataclass(frozen=True)
class WorkloadState:
    """What is known of one workload; ``history`` holds (trials so far, best so far in us), oldest first.

    ``trials`` and ``history`` include what earlier jobs measured, so a workload with records starts warm.
    ``traffic_bytes`` is what one launch reads and writes; ``left_before``: earlier jobs measured it, this one has not.
    ``product`` is what it computes, whatever its ``precision``.
    """

    workload_id: str
    weight: int
    flops: float
    tunable: bool = True
    best_us: float | None = None
    untuned_us: float | None = None
    trials: int = 0
    history: tuple[tuple[int, float], ...] = ()
    sec_per_trial: float | None = None
    traffic_bytes: float = 0.0
    left_before: bool = False
    product: str = ""
    precision: str = "fp32"


@dataclass(frozen=True)
class Budget:
    """What is left of a job's budget; ``seconds_left`` is None without a limit, ``batch`` a full round's candidates."""

    trials_left: int
    seconds_left: float | None = None
    batch: int = 16
    trials_total: int = 0  # of the whole job; sizes the first pass


@dataclass(frozen=True)
class RoundPlan:
    """One round to run: this many candidates of this workload."""

    workload_id: str
    batch: int


@dataclass(frozen=True)
class Stop:
    """Tuning is over: the budget is spent, no gain is expected, or nothing is tunable."""

    reason: Literal["trials", "seconds", "gain", "nothing"]


def plan(
    workloads: Sequence[WorkloadState],
    budget: Budget,
    devices: int = 1,
    in_flight: Collection[str] = (),
    seed: str = "",
) -> list[RoundPlan] | Stop:
    """The next rounds, at most ``devices``, of distinct workloads that are not ``in_flight``; or why there are none.

    The same arguments give the same answer; ``seed`` should change from round to round. The list is empty only when all
    that is worth tuning is in flight.
    """
    tunable = [w for w in workloads if w.tunable]
    if not tunable:
        return Stop("nothing")
    if budget.trials_left <= 0:
        return Stop("trials")
    if budget.seconds_left is not None and budget.seconds_left < _round_sec(_sec_per_trial(tunable), 1):
        return Stop("seconds")
    outlook = _Outlook(workloads, budget)
    minimum = outlook.minimum()
    chosen: list[RoundPlan] = []
    left = budget.trials_left
    lacking = sorted((w for w in tunable if w.trials < minimum[w.workload_id]), key=outlook.potential, reverse=True)
    worthy = sorted((w for w in tunable if outlook.is_worthy(w)), key=outlook.gain_per_sec, reverse=True)
    if not lacking and not worthy:
        return Stop("gain")
    explorer = random.Random(seed)
    if not lacking and len(worthy) > 1 and explorer.random() < EXPLORE:
        worthy.insert(0, worthy.pop(explorer.randrange(len(worthy))))
    seen = set(in_flight)
    for w in [*lacking, *worthy]:
        if w.workload_id in seen or len(chosen) >= devices or left <= 0:
            continue
        wanted = max(MIN_BATCH, minimum[w.workload_id] - w.trials) if w in lacking else outlook.full_batch(w)
        batch = min(wanted, left, budget.batch, _affordable(w, budget))
        seen.add(w.workload_id)
        chosen.append(RoundPlan(w.workload_id, batch))
        left -= batch
    return chosen


class _Outlook:
    """What each workload costs now and what a round of it may win, in parts of the whole model's latency."""

    def __init__(self, workloads: Sequence[WorkloadState], budget: Budget) -> None:
        self._workloads = workloads
        self._budget = budget
        # Two kinds: bound by arithmetic or by memory. The best rate of its kind says what a workload may reach.
        measured = [w for w in workloads if w.best_us]
        ratios = sorted((w.best_us or 0.0) / _roofline_us(w) for w in measured)
        self._scale = ratios[len(ratios) // 2] if ratios else 1.0
        self._best_rate = {
            dense: max((w.flops / w.best_us for w in measured if w.best_us and _dense(w) == dense), default=0.0)
            for dense in (True, False)
        }
        self.total_us = sum(w.weight * self.now_us(w) for w in workloads) or 1.0
        # The tuned model, not today's: next to one unscheduled GEMM every other kernel would seem to be nothing.
        self._goal_us = sum(w.weight * self._reachable_us(w) for w in workloads) or 1.0

    def now_us(self, w: WorkloadState) -> float:
        """One launch as things stand: measured, else as it is untuned, else a guess."""
        if w.best_us is not None:
            return w.best_us
        if w.untuned_us is not None:
            return w.untuned_us
        return _roofline_us(w) * self._scale * (UNTUNED_FACTOR if w.tunable else 1.0)

    def potential(self, w: WorkloadState) -> float:
        """The whole fall that tuning it may bring, in parts of the tuned model's latency."""
        return w.weight * max(0.0, self.now_us(w) - self._floor_us(w)) / self._goal_us

    def minimum(self) -> dict[str, int]:
        """Trials each workload gets before the gradient rules: by share of the tuned time, none for trifles."""
        total = max(self._budget.trials_total, self._budget.trials_left)
        workloads = [w for w in self._workloads if w.tunable]
        matter = [w for w in workloads if w.trials > 0 or self.potential(w) >= MATTERS]
        pool = min(WARM_UP_SHARE * total, len(matter) * self._budget.batch)
        share_sum = sum(self._share(w) for w in matter) or 1.0
        found = dict.fromkeys((w.workload_id for w in workloads), 0)
        for w in matter:
            share = round(pool * self._share(w) / share_sum)
            found[w.workload_id] = min(max(MIN_BATCH, share), self.full_batch(w))
        return found

    def full_batch(self, w: WorkloadState) -> int:
        """Element-wise kernels have small design spaces: half a batch of candidates shows what there is."""
        return self._budget.batch if _dense(w) else max(MIN_BATCH, self._budget.batch // 2)

    def gain(self, w: WorkloadState) -> float:
        """Expected fall from one full batch, as a part of the whole model's latency.

        alpha x past slope + (1 - alpha) x hope. The hope is Ansor's: the larger of latency / rounds and of what is
        missing to its kind's best FLOP/s (less a margin); here it never goes past the floor, and batches that brought
        nothing halve the whole again and again.
        """
        now = self.now_us(w)
        rounds = w.trials / self.full_batch(w)
        if w.best_us is None:
            fall = (now - self._floor_us(w)) / max(1.0, rounds)
        else:
            room = max(0.0, now - self._floor_us(w))
            rate = self._best_rate[_dense(w)]
            similar = now - SIMILAR_MARGIN * w.flops / rate if rate else 0.0
            hope = min(room, max(now / max(1.0, rounds), similar))
            fall = BACKWARD_SHARE * self._past_slope(w) + (1 - BACKWARD_SHARE) * hope
        return w.weight * fall * 0.5 ** (self._stale_rounds(w) / PATIENCE) / self.total_us

    def is_worthy(self, w: WorkloadState) -> bool:
        """Is a round of it worth its time?"""
        return self.gain(w) >= MIN_GAIN * (REOPEN if w.left_before else 1.0)

    def gain_per_sec(self, w: WorkloadState) -> float:
        """``gain`` by the seconds that a full batch takes."""
        return self.gain(w) / _round_sec(w.sec_per_trial or _sec_per_trial(self._workloads), self.full_batch(w))

    def _share(self, w: WorkloadState) -> float:
        return w.weight * self._reachable_us(w)

    def _reachable_us(self, w: WorkloadState) -> float:
        """One launch once tuned, by what is measured or by the prior."""
        return w.best_us if w.best_us is not None else min(self.now_us(w), _roofline_us(w) * self._scale)

    def _floor_us(self, w: WorkloadState) -> float:
        """What no candidate will beat: the best rate its kind has shown, plus a tenth, else the prior.

        Where nobody has tried, some gain is hoped for: prior and kind may know less than the plain schedule shows.
        """
        rate = self._best_rate[_dense(w)]
        known = w.flops / rate / 1.1 if _dense(w) and rate else _roofline_us(w) * min(1.0, self._scale)
        return min(known, self.now_us(w) / (UNTRIED_HOPE if w.tunable and not w.trials else 1.0))

    def _past_slope(self, w: WorkloadState) -> float:
        """Fall per round over the last rounds, in us."""
        if len(w.history) < 2:
            return 0.0
        recent = w.history[-(WINDOW + 1) :]
        return max(0.0, recent[0][1] - recent[-1][1]) / (len(recent) - 1)

    def _stale_rounds(self, w: WorkloadState) -> float:
        """Full batches measured since the best was found."""
        if w.best_us is None:
            return max(0.0, w.trials / self.full_batch(w) - 1)
        found_at = w.trials
        for trials, best in reversed(w.history):  # which is long, and falls
            if best > w.history[-1][1]:
                break
            found_at = trials
        return (w.trials - found_at) / self.full_batch(w)


def _dense(w: WorkloadState) -> bool:
    return w.flops >= DENSE * w.traffic_bytes


def _roofline_us(w: WorkloadState) -> float:
    """Williams et al., "Roofline", CACM 2009: the slower of arithmetic and memory; here with a launch on top."""
    return max(w.flops / PEAK_FLOPS_PER_US, w.traffic_bytes / PEAK_BYTES_PER_US) + LAUNCH_US


def _sec_per_trial(workloads: Sequence[WorkloadState]) -> float:
    known = [w.sec_per_trial for w in workloads if w.sec_per_trial]
    return sum(known) / len(known) if known else DEFAULT_SEC_PER_TRIAL


def _round_sec(sec_per_trial: float, batch: int) -> float:
    return ROUND_OVERHEAD_SEC + batch * sec_per_trial


def _affordable(w: WorkloadState, budget: Budget) -> int:
    """The largest batch that still fits into the time that is left, at least one."""
    if budget.seconds_left is None:
        return budget.batch
    per_trial = w.sec_per_trial or DEFAULT_SEC_PER_TRIAL
    return max(1, int((budget.seconds_left - ROUND_OVERHEAD_SEC) / per_trial))
