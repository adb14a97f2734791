"""What finals of earlier jobs took."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine, update
from sqlmodel import select

from tests.support.rows import utcnow
from tuner.db import final_times
from tuner.db.engine import write
from tuner.db.models import Device, FinalTimes
from tuner.search.remembered import Remembered, Times

TIMES = Times({"one": [1e-3, 2e-3], "other": [3e-3]}, [1e-4])


@pytest.fixture
def remembered(engine: Engine) -> Remembered:
    with write(engine) as db:
        db.add(Device(key="local", facts={"cpu": "a CPU", "threads": 2}))
    found = Remembered(engine, "local")
    found.keep(TIMES, cold=True)
    return found


def test_the_same_kernels_on_the_same_terms_are_remembered(remembered: Remembered) -> None:
    assert remembered.find(["other", "one"], cold=True) == TIMES


@pytest.mark.parametrize("kernels", [["one"], ["one", "other", "third"]])
def test_other_rivals_are_another_contest(remembered: Remembered, kernels: list[str]) -> None:
    assert remembered.find(kernels, cold=True) is None


def test_other_terms_are_another_contest(remembered: Remembered) -> None:
    assert remembered.find(["one", "other"], cold=False) is None


def test_another_machine_under_the_same_key_knows_nothing(remembered: Remembered, engine: Engine) -> None:
    with write(engine) as db:
        db.get_one(Device, "local").facts = {"cpu": "another CPU", "threads": 2}
    assert Remembered(engine, "local").find(["one", "other"], cold=True) is None


def test_a_job_that_ignores_what_is_known_recalls_nothing_but_keeps(engine: Engine, remembered: Remembered) -> None:
    cold = Remembered(engine, "local", may_recall=False)
    assert cold.find(["one", "other"], cold=True) is None
    again = Times({"one": [5e-3], "other": [6e-3]}, [])
    cold.keep(again, cold=True)
    assert remembered.find(["one", "other"], cold=True) == again


def test_what_is_old_is_forgotten_and_goes_with_the_next_that_is_kept(engine: Engine, remembered: Remembered) -> None:
    with write(engine) as db:
        old = utcnow() - final_times.KEPT_FOR - timedelta(hours=1)
        db.execute(update(FinalTimes).values(created_at=old))
    assert remembered.find(["one", "other"], cold=True) is None
    remembered.keep(Times({"third": [1e-3]}, []))
    with write(engine) as db:
        assert [list(row.run_secs) for row in db.exec(select(FinalTimes))] == [["third"]]
