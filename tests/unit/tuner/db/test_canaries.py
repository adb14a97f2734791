"""The canary's yardstick outlives the process that timed it."""

from __future__ import annotations

from sqlalchemy import Engine

from tuner.db import canaries
from tuner.db.engine import read, write


def test_the_usual_time_is_the_median_of_a_place(engine: Engine) -> None:
    with write(engine) as session:
        for seconds in (1.0, 9.0, 2.0):
            canaries.note(session, "local", "family", seconds)
        canaries.note(session, "local", "other", 5.0)
    with read(engine) as session:
        assert canaries.usual_sec(session, "local", "family") == 2.0
        assert canaries.usual_sec(session, "m1-cpu", "family") is None
