"""A replay goes through recorded candidates as a strategy asks, and keeps its books."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pytest
from sqlalchemy import Engine

from tests.support.rows import make_record, make_workload
from tuner.db import records
from tuner.db.engine import write
from tuner.search.replay import Candidate, Recording, Step, recordings, replay, trials_to

TIMES = {"slow": 9.0, "broken": None, "fast": 1.0, "fair": 3.0}


def recording() -> Recording:
    candidates = {
        name: Candidate(name, "", [] if seconds is None else [seconds] * 2, seconds) for name, seconds in TIMES.items()
    }
    return Recording("wl-1", "matmul", "", "", {}, candidates)


class Scripted:
    """Proposes these in this order and remembers what it was told."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.told: dict[str, float | None] = {}

    def propose(self, count: int) -> Sequence[str]:
        proposed, self.names = self.names[:count], self.names[count:]
        return proposed

    def tell(self, results: Mapping[str, Candidate]) -> None:
        self.told |= {name: one.seconds for name, one in results.items()}


def ticking(seconds: float) -> Iterator[float]:
    now = 0.0
    while True:
        yield now
        now += seconds


def test_steps_tell_trials_time_and_the_best_so_far() -> None:
    ticks = ticking(10.0)
    steps = replay(Scripted("broken", "slow", "fast", "fair"), recording(), batch=2, clock=lambda: next(ticks))
    assert steps == [Step(1, 10.0, None), Step(2, 28.0, 9.0), Step(3, 50.0, 1.0), Step(4, 56.0, 1.0)]


def test_strategy_is_told_of_all_it_proposed_and_may_end_early() -> None:
    strategy = Scripted("broken", "fair")
    assert len(replay(strategy, recording(), batch=16)) == 2
    assert strategy.told == {"broken": None, "fair": 3.0}


def test_what_was_never_recorded_or_asked_before_is_refused() -> None:
    with pytest.raises(KeyError, match="unheard"):
        replay(Scripted("unheard"), recording(), batch=1)
    with pytest.raises(ValueError, match="twice"):
        replay(Scripted("fast", "fast"), recording(), batch=1)


def test_trials_to_a_goal_are_counted_until_it_is_met() -> None:
    steps = replay(Scripted("slow", "fair", "fast"), recording(), batch=4)
    assert [trials_to(steps, goal) for goal in (9.0, 3.0, 1.0, 0.5)] == [1, 2, 3, None]


def test_recordings_come_from_the_database_those_with_most_records_first(engine: Engine) -> None:
    with write(engine) as session:
        for number, count in ((1, 1), (2, 3)):
            records.put_workload(session, make_workload(number))
            for index in range(count):
                records.add(session, make_record(f"{number}-{index}", 1e-3 * (index + 1), workload=number))
        records.add(session, make_record("2-x", None, workload=2))
        records.add(session, make_record("no trace", 1e-6, workload=2, trace=""))
    found = recordings(engine)
    assert [len(one.candidates) for one in found] == [4, 1]
    assert found[0].best_sec == pytest.approx(1e-3)
    assert found[0].candidates["2-x"].seconds is None
