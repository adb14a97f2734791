"""What the engine runs for a job."""

from __future__ import annotations

from tuner.db.models import Job
from tuner.jobs.tasks import stage_key


def test_a_stage_key_changes_when_its_process_has_died() -> None:
    job = Job(id="job-1", model_id="m", target="local", budget_trials=64, state="compiling")
    first = stage_key(job)
    job.attempts = 1
    assert first != stage_key(job)
