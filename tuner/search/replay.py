"""Replays a recorded search without a device: a strategy chooses among candidates whose times are known.

The idea is Kernel Tuner's simulation mode (van Werkhoven 2019). What it compares is the order in which strategies come
to good candidates; what none of them ever measured is not in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy import Engine

from tuner.db.walk import walk


@dataclass(frozen=True)
class Candidate:
    """One recorded measurement; ``run_secs`` is empty and ``seconds`` None when it failed."""

    id: str
    trace: str
    run_secs: list[float]
    seconds: float | None


@dataclass
class Recording:
    """All that is known of one workload on one target family."""

    workload_id: str
    name: str
    summary: str
    tir: str
    target: dict[str, Any]
    candidates: dict[str, Candidate] = field(default_factory=dict)

    @property
    def best_sec(self) -> float:
        """The fastest of it, infinite when everything failed."""
        return min((one.seconds for one in self.candidates.values() if one.seconds is not None), default=float("inf"))


class Strategy(Protocol):
    """What is compared: it proposes ids of candidates of the recording and is told how they did."""

    def propose(self, count: int) -> Sequence[str]:
        """Up to ``count`` candidates never proposed before; none when it has no more."""
        ...

    def tell(self, results: Mapping[str, Candidate]) -> None:
        """What became of the proposals."""
        ...


@dataclass(frozen=True)
class Step:
    """After a candidate: how many were tried, seconds spent deciding and measuring, the best so far if any.

    Deciding on a batch is paid for by its first candidate, and so is learning from the batch before.
    """

    trials: int
    spent_sec: float
    best_sec: float | None


def recordings(engine: Engine, failed: bool = True) -> list[Recording]:
    """What a database holds, most candidates first; records without a trace can't be replayed and are left out."""
    found: dict[tuple[str, str], Recording] = {}
    for record, workload in walk(engine, failed=failed):
        if not record.trace:
            continue
        recording = found.setdefault(
            (workload.id, record.target_family),
            Recording(workload.id, workload.name, workload.summary, workload.tir, record.target_json),
        )
        recording.candidates[record.candidate] = Candidate(
            record.candidate, record.trace, record.run_secs, record.mean_sec
        )
    return sorted(found.values(), key=lambda one: -len(one.candidates))


def replay(
    strategy: Strategy, recording: Recording, batch: int, clock: Callable[[], float] = time.perf_counter
) -> list[Step]:
    """Let the strategy go through the recording, a batch at a time; a step for each candidate, in its order.

    Raises ``KeyError`` when it proposes what was never recorded, ``ValueError`` when it proposes something twice.
    """
    steps: list[Step] = []
    tried: set[str] = set()
    spent_sec = 0.0
    best_sec: float | None = None
    while len(tried) < len(recording.candidates):
        start = clock()
        proposed = strategy.propose(batch)
        if not proposed:
            break
        if tried & set(proposed) or len(set(proposed)) < len(proposed):
            raise ValueError("a candidate was proposed twice")
        results = {name: recording.candidates[name] for name in proposed}
        spent_sec += clock() - start
        for one in results.values():
            spent_sec += sum(one.run_secs)
            tried.add(one.id)
            if one.seconds is not None and (best_sec is None or one.seconds < best_sec):
                best_sec = one.seconds
            steps.append(Step(len(tried), spent_sec, best_sec))
        start = clock()
        strategy.tell(results)
        spent_sec += clock() - start
    return steps


def trials_to(steps: Sequence[Step], goal_sec: float) -> int | None:
    """Candidates tried until one was at least this fast; None when none was."""
    return next((step.trials for step in steps if step.best_sec is not None and step.best_sec <= goal_sec), None)
