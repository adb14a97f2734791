"""A run whose faults don't come ends."""

from __future__ import annotations

from typing import Any, cast

import pytest

from benchmarks.chaos.__main__ import Pace, strike
from benchmarks.chaos.spread import Spread
from tuner.errors import StageFailed


class Still:
    """Stands for a service in which nothing happens, and for all that look at it."""

    state = "submitted"

    def keep_up(self) -> None: ...

    def look(self) -> None: ...

    def heal(self) -> None: ...

    def see_to(self, another: bool) -> None: ...

    def strike(self) -> str:
        return ""

    def shown(self) -> str:
        return "no job"


def test_faults_that_do_not_come_in_time_end_the_run() -> None:
    still = cast(Any, Still())
    with pytest.raises(StageFailed, match=r"0 of 3 things went wrong within 0\.1 s") as told:
        strike(still, still, Spread(), still, still, 3, Pace(every_sec=0.0, within_sec=0.1, end_sec=0.0))
    assert told.value.hint == "no job"
