from __future__ import annotations

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from tests.support.rows import add_job, make_record, make_workload
from tuner.config import Settings
from tuner.db import events, jobs
from tuner.db.engine import read, write
from tuner.db.models import Artifact, Benchmark, JobWorkload, Record, Round
from tuner.errors import Conflict, NotFound
from tuner.jobs import control


@pytest.mark.parametrize("state", ["submitted", "tuning", "paused", "benchmarking"])
def test_any_unfinished_job_can_be_cancelled(engine: Engine, state: str) -> None:
    with write(engine) as session:
        job = control.cancel(session, add_job(session, state).id)
        assert (job.state, job.wish) == (state, "cancel")
        assert events.since(session, 0, job.id)[-1].data["wish"] == "cancel"


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
@pytest.mark.parametrize("action", [control.cancel, control.pause, control.resume])
def test_a_finished_job_takes_no_wishes(engine: Engine, state: str, action: object) -> None:
    with write(engine) as session:
        job_id = add_job(session, state).id
        with pytest.raises(Conflict, match=job_id):
            action(session, job_id)  # type: ignore[operator]


def test_pause_and_resume_ask_the_coordinator(engine: Engine) -> None:
    with write(engine) as session:
        job = add_job(session, "tuning")
        assert control.pause(session, job.id).wish == "pause"
        assert control.resume(session, job.id).wish == ""
        job.state = "paused"
        assert control.resume(session, job.id).wish == "resume"


@pytest.mark.parametrize(
    ("state", "action"), [("paused", control.pause), ("verifying", control.pause), ("tuning", control.resume)]
)
def test_what_a_state_does_not_allow_is_a_conflict_naming_it(engine: Engine, state: str, action: object) -> None:
    with write(engine) as session:
        job_id = add_job(session, state).id
        with pytest.raises(Conflict, match=state):
            action(session, job_id)  # type: ignore[operator]


@pytest.mark.parametrize(("state", "action"), [("paused", control.pause), ("cancelled", control.cancel)])
def test_asking_twice_is_answered_with_already(engine: Engine, state: str, action: object) -> None:
    with write(engine) as session:
        job_id = add_job(session, state).id
        with pytest.raises(Conflict, match=rf"{state} already\.$"):
            action(session, job_id)  # type: ignore[operator]


def test_a_job_that_is_being_cancelled_is_not_paused(engine: Engine) -> None:
    with write(engine) as session:
        job_id = add_job(session, "tuning").id
        control.cancel(session, job_id)
        with pytest.raises(Conflict, match="being cancelled"):
            control.pause(session, job_id)


def test_an_unknown_job_is_named(engine: Engine) -> None:
    with write(engine) as session, pytest.raises(NotFound, match="job-none"):
        control.cancel(session, "job-none")


def test_a_running_job_is_not_deleted(engine: Engine, settings: Settings) -> None:
    with write(engine) as session:
        job_id = add_job(session, "tuning").id
    with pytest.raises(Conflict) as caught:
        control.delete(engine, settings, job_id)
    assert f"tunesmith cancel {job_id}" in caught.value.hint


def test_deleting_a_job_keeps_records_and_what_others_share(engine: Engine, settings: Settings) -> None:
    settings.artifacts_dir.mkdir(parents=True)
    for name in ("own", "shared"):
        (settings.artifacts_dir / f"{name}.tar").write_bytes(b"tar")
    with write(engine) as session:
        job = add_job(session, "succeeded", artifact_id="art-shared")
        add_job(session, "succeeded", artifact_id="art-shared")
        session.add(make_workload())
        session.flush()
        session.add(make_record("a", 1.0, job_id=job.id))
        session.add(JobWorkload(job_id=job.id, workload_id=make_workload().id))
        session.add(Round(job_id=job.id, workload_id=make_workload().id))
        session.add(
            Benchmark(job_id=job.id, variant="tuned", median_ms=1, p10_ms=1, p90_ms=1, n=1, threads=1, machine="m")
        )
        for name in ("own", "shared"):
            session.add(Artifact(id=f"art-{name}", job_id=job.id, path=f"{name}.tar", size_bytes=3, sha256="0"))
    control.delete(engine, settings, job.id)
    with read(engine) as session:
        assert jobs.find(session).total == 1
        assert [record.job_id for record in session.exec(select(Record))] == [None]
        assert [artifact.id for artifact in session.exec(select(Artifact))] == ["art-shared"]
        for table in (JobWorkload, Round, Benchmark):
            assert session.exec(select(table)).first() is None
    assert [path.name for path in settings.artifacts_dir.iterdir()] == ["shared.tar"]


def test_an_artifact_goes_with_the_last_job_that_has_it(engine: Engine, settings: Settings) -> None:
    settings.artifacts_dir.mkdir(parents=True)
    tar = settings.artifacts_dir / "one.tar"
    tar.write_bytes(b"tar")
    with write(engine) as session:
        maker, given = (add_job(session, "succeeded", artifact_id="art-one").id for _ in range(2))
        session.add(Artifact(id="art-one", job_id=maker, path=tar.name, size_bytes=3, sha256="0"))
    control.delete(engine, settings, maker)
    assert tar.exists()
    control.delete(engine, settings, given)
    assert not tar.exists()
    with read(engine) as session:
        assert session.exec(select(Artifact)).first() is None
