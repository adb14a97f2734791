from __future__ import annotations

import pytest

from benchmarks.chaos.spread import SHARES, Spread

# What a job of a minute or two spends in each of its stages, in usual pauses between two faults.
USUAL = {"importing": 3, "extracting": 1, "tuning": 10, "compiling": 3, "verifying": 1, "benchmarking": 4}


def fallen(lasts: dict[str, float], faults: int) -> Spread:
    """The faults of jobs that follow each other and spend so many pauses in their stages."""
    spread = Spread()
    waited = 0.0
    while True:
        for stage, pauses in {**lasts, "succeeded": 0.25}.items():
            for _ in range(round(pauses * 4)):
                waited += 0.25
                if waited >= spread.pauses(stage):
                    spread.note(stage)
                    waited = 0.0
                    if spread.fallen.total() == faults:
                        return spread


@pytest.mark.parametrize("slow", [None, *SHARES])
def test_faults_are_spread_over_all_stages_whichever_of_them_takes_long(slow: str | None) -> None:
    found = fallen({**USUAL, **({slow: 20.0} if slow else {})}, 100).fallen
    for stage, share in SHARES.items():
        assert found[stage] >= 100 * share / 2, (stage, found)
    assert found["tuning"] >= 20


def test_a_job_that_comes_no_further_is_not_waited_for_in_vain() -> None:
    assert fallen(dict.fromkeys(SHARES, 0.0) | {"importing": 1000.0}, 10).fallen == {"importing": 10}


def test_a_paused_job_is_one_that_tunes() -> None:
    spread = Spread()
    spread.note("paused")
    assert spread.fallen == {"tuning": 1}
