"""What failed of a job is told alike by both databases."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from tests.support.rows import add_job, make_record, make_workload
from tuner.db import records
from tuner.db.engine import read, write
from tuner.db.models import JobWorkload
from tuner.errors import NotFound
from tuner.jobs.failures import candidate_out, failure_outs

pytestmark = pytest.mark.both_databases


@pytest.fixture
def job_id(engine: Engine) -> str:
    with write(engine) as session:
        job, other = add_job(session, "tuning", target_json={"kind": "llvm"}), add_job(session, "tuning")
        for number, name in enumerate(("matmul", "softmax"), 1):
            workload = records.put_workload(session, make_workload(number, name=name))
            session.add(JobWorkload(job_id=job.id, workload_id=workload.id))
        for n in range(7):
            records.add(session, make_record(f"b{n}", None, error=f"no {n}", job_id=job.id))
        records.add(session, make_record("hang", None, 2, error_class="timeout", job_id=job.id))
        records.add(session, make_record("slow", None, 2, error_class="build", job_id=job.id))
        records.add(session, make_record("good", 1e-3, job_id=job.id))
        records.add(session, make_record("theirs", None, job_id=other.id))
    return job.id


def test_failures_are_counted_by_kind_with_the_last_of_each(engine: Engine, job_id: str) -> None:
    with read(engine) as session:
        build, timeout = failure_outs(session, job_id)
    assert (build.error_class, build.count, build.kernels) == ("build", 8, {"matmul": 7, "softmax": 1})
    assert [one.candidate for one in build.latest] == ["slow", "b6", "b5", "b4", "b3"]
    assert (build.latest[1].kernel, build.latest[1].error) == ("matmul", "no 6")
    assert (timeout.error_class, timeout.count, timeout.latest[0].kernel) == ("timeout", 1, "softmax")


def test_a_candidate_tells_what_it_is_made_from_and_what_became_of_it(engine: Engine, job_id: str) -> None:
    with read(engine) as session:
        failed, good = (candidate_out(session, job_id, name) for name in ("b2", "good"))
        assert (failed.name, failed.error_class, failed.error, failed.run_secs) == ("matmul", "build", "no 2", [])
        assert (failed.trace, failed.tir, failed.target) == (good.trace, good.tir, {"kind": "llvm"})
        assert (good.error_class, good.run_secs) == ("", [1e-3])
        with pytest.raises(NotFound, match="theirs"):
            candidate_out(session, job_id, "theirs")
