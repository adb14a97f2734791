"""How long a job has tuned."""

from __future__ import annotations

from tuner.jobs.busy_time import BusyTime


def test_rounds_one_after_the_other_add_up_without_the_time_between() -> None:
    busy = BusyTime()
    busy.start("job-1", 0.0)
    assert busy.end("job-1", 10.0) == 10.0
    busy.start("job-1", 50.0)
    assert busy.end("job-1", 55.0) == 5.0


def test_rounds_that_overlap_count_once() -> None:
    busy = BusyTime()
    busy.start("job-1", 0.0)
    busy.start("job-1", 5.0)
    assert busy.end("job-1", 10.0) + busy.end("job-1", 15.0) == 15.0


def test_jobs_have_stopwatches_of_their_own() -> None:
    busy = BusyTime()
    busy.start("job-1", 0.0)
    busy.start("job-2", 8.0)
    assert (busy.end("job-1", 10.0), busy.end("job-2", 10.0)) == (10.0, 2.0)


def test_an_end_without_a_start_is_no_time() -> None:
    assert BusyTime().end("job-1", 10.0) == 0.0
