"""What the rounds of a workload came to, one after the other: pure. A job of many rounds adds up only the new ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from tuner.db.models import Round

MAX_WORKLOAD_FAILURES = 4  # rounds of one workload in a row that failed, then it is given up
MAX_EMPTY_ROUNDS = 2  # of one workload in a row that found nothing new, then there is nothing to find

History = tuple[tuple[int, float], ...]  # (trials so far, best so far in us), oldest first


@dataclass(frozen=True)
class Course:
    """Of one workload: what earlier jobs found (``before``), then what this job's rounds did."""

    before: History = ()
    points: History = ()
    measured: int = 0
    busy_sec: float = 0.0
    empty: int = 0  # rounds in a row, up to the last that ended well, that measured nothing
    exhausted: bool = False  # the last that ended well left nothing to try
    failures: int = 0  # since the last that ended well
    error: str = ""  # of the last of these

    @property
    def known_trials(self) -> int:
        """Measurements of earlier jobs."""
        return self.before[-1][0] if self.before else 0

    @property
    def history(self) -> History:
        """Earlier jobs' and this one's."""
        return (*self.before, *self.points)

    @property
    def is_exhausted(self) -> bool:
        """Is there nothing left to try, by its own word or by rounds that found nothing new?"""
        return self.exhausted or self.empty >= MAX_EMPTY_ROUNDS

    @property
    def given_up(self) -> str:
        """Why it is not tuned any further though it could be better; empty: it is."""
        if self.failures < MAX_WORKLOAD_FAILURES:
            return ""
        return f"its last {self.failures} rounds failed: {self.error}"

    def after(self, row: Round) -> Course:
        """With one round more; lost ones neither count as failed nor end a series."""
        changed = self
        if row.state == "done":
            empty = 0 if row.measured else self.empty + 1
            changed = replace(changed, empty=empty, exhausted=row.exhausted, failures=0, error="")
        elif row.state == "failed":
            changed = replace(changed, failures=self.failures + 1, error=row.error)
        if not row.measured:
            return changed
        busy_sec, measured = self.busy_sec + row.build_sec + row.measure_sec, self.measured + row.measured
        last = self.points[-1:] or self.before[-1:]
        known = [us for us in (row.best_us, *(us for _, us in last)) if us is not None]
        point = ((self.known_trials + measured, min(known)),) if known else ()
        return replace(changed, busy_sec=busy_sec, measured=measured, points=(*self.points, *point))


def follow(rounds: Iterable[Round], courses: Mapping[str, Course]) -> dict[str, Course]:
    """The courses of workloads, by id, with these rounds more."""
    found = dict(courses)
    for row in rounds:
        found[row.workload_id] = found.get(row.workload_id, Course()).after(row)
    return found
