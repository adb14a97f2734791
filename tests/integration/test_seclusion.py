"""What others wrote is scheduled in a process of its own: what that does not survive fails its job and nothing else."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tvm
from sqlalchemy import Engine
from tvm import te

from tests.support.model_files import in_place
from tests.support.processes import is_running, wait_until
from tests.support.rows import add_job, make_record, make_workload
from tests.support.submitting import submit_fetched
from tuner.bench.launch import run_benchmark
from tuner.bench.spec import Spec, Variant
from tuner.config import Settings
from tuner.db import jobs, records
from tuner.db.engine import read, write
from tuner.db.models import JobWorkload
from tuner.errors import DeviceUnavailable, StageFailed
from tuner.importers.operators import files
from tuner.jobs import contenders, making, seclusion, stages
from tuner.jobs.seclusion import Secluded
from tuner.schemas import JobIn, OperatorIn
from tuner.state import ROUND

MIB = 2**20
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no process is refused memory")


@pytest.fixture
def secluded(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Secluded]:
    """With stages of a test's own."""
    settings.root.mkdir(exist_ok=True)
    monkeypatch.setattr(seclusion, "MODULE", "tests.support.secluded_stages")
    found = Secluded()
    yield found
    found.leave("nobody's")


def run(secluded: Secluded, settings: Settings, stage: str, job_id: str = "job-a") -> list[int]:
    """Run a stage; the processes that ran those of the job."""
    secluded.run(settings, stage, job_id, {}, "mine.operator.json", 512 * MIB)
    return [int(line) for line in (settings.root / job_id).read_text().splitlines()]


def test_rounds_of_a_job_share_a_process_which_ends_with_its_tuning(secluded: Secluded, settings: Settings) -> None:
    run(secluded, settings, ROUND)
    first, second = run(secluded, settings, ROUND)
    assert first == second != os.getpid()
    secluded.leave("job-a")
    assert is_running(first)
    assert len(set(run(secluded, settings, "compile_module"))) == 1
    wait_until(lambda: not is_running(first), 5, "its end")


def test_another_job_gets_another_process(secluded: Secluded, settings: Settings) -> None:
    (first,) = run(secluded, settings, ROUND)
    (second,) = run(secluded, settings, ROUND, "job-b")
    assert first != second
    wait_until(lambda: not is_running(first), 5, "its end")
    secluded.leave("job-c")
    wait_until(lambda: not is_running(second), 5, "its end")


@linux_only
@pytest.mark.parametrize(("stage", "says"), [("eat", "wanted more than 512 MiB"), ("crash", "SIGSEGV")])
def test_what_it_does_not_survive_fails_the_stage_by_name(
    secluded: Secluded, settings: Settings, stage: str, says: str
) -> None:
    with pytest.raises(StageFailed, match=f"{stage} of mine for job-a .*{says}") as caught:
        run(secluded, settings, stage)
    assert "--cold" in caught.value.hint
    assert run(secluded, settings, ROUND), "the next one finds a whole process"


def test_what_does_not_end_is_ended(secluded: Secluded, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seclusion, "STAGE_SEC", 0.2)
    with pytest.raises(StageFailed, match=r"took more than 0.2 s"):
        run(secluded, settings, "hang")


def test_an_error_for_people_keeps_its_kind(secluded: Secluded, settings: Settings) -> None:
    with pytest.raises(DeviceUnavailable, match=r"No device came\."):
        run(secluded, settings, "refuse")


def scaled(values: Any, by: Any, name: str) -> Any:
    return te.compute((4, 8), lambda i, j: values[i, j] * by[j], name=name)


def test_an_operator_of_ones_own_is_scheduled_there_and_a_bomb_fails_its_job_alone(
    settings: Settings, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = te.placeholder((4, 8), name="a"), te.placeholder((8,), name="b")
    last = a
    for number in range(150):  # so that to list it takes more memory than what its process happens to have left over
        last = scaled(last, b, f"step{number}")
    made = te.create_prim_func([a, b, last])
    path = files.write(tmp_path / "operators", OperatorIn(name="scaled", tir=str(tvm.ir.save_json(made))))
    wish = JobIn(model=str(path), target="m1-cpu", compile_only=True)
    here: list[str] = []
    monkeypatch.setattr(contenders, "workloads_of", lambda *_: here.append("scheduled"))
    bomb, job_id = (submit_fetched(engine, settings, wish).id for _ in range(2))
    for one in (bomb, job_id):
        stages.import_model(settings, one)
    with monkeypatch.context() as limits:
        for name in ("_MEMORY_BYTES", "_TIMES_PARAMS"):
            limits.setattr(making, name, 0)
        with pytest.raises(StageFailed, match=f"extract of .*scaled.* for {bomb} could not be done"):
            stages.extract(settings, bomb)
    stages.extract(settings, job_id)
    with read(engine) as db:
        assert len(jobs.workloads(db, job_id)) == 1
        assert jobs.workloads(db, bomb) == []
    assert here == []


@pytest.mark.parametrize(("source", "goes"), [("imported", True), ("measured", False)])
def test_a_job_that_may_use_records_of_others_is_tuned_there(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch, source: str, goes: bool
) -> None:
    with write(engine) as db:
        job = add_job(db, "tuning", target_family="llvm-test", target_json={"kind": "llvm"})
        records.put_workload(db, make_workload())
        db.add(JobWorkload(job_id=job.id, workload_id=make_workload().id))
        records.add(db, make_record("a", 1.0, source=source))
    asked: list[Any] = []

    class There:
        def leave(self, job_id: str) -> None:
            asked.append(job_id)

        def run(self, *arguments: Any) -> None:
            asked.append(arguments[1:4])

    class Here:
        def run(self, *arguments: str) -> None:
            asked.append(arguments)

    monkeypatch.setattr(seclusion, "kept", There)
    monkeypatch.setattr(stages, "tuner_of", lambda _: Here())
    monkeypatch.setattr(stages, "imported_of", lambda *_: None)
    monkeypatch.setattr(making, "most_bytes", lambda *_: 0)
    stages.tune_round(settings, job.id, round_id="rnd-1")
    there: tuple[Any, ...] = (ROUND, job.id, {"round_id": "rnd-1"})
    assert asked == [job.id, there if goes else (job.id, "rnd-1")]


@linux_only
def test_a_benchmark_that_may_not_have_the_memory_it_wants_says_so(tmp_path: Path) -> None:
    spec = Spec(
        source=in_place("op:gemm:1024,1024,1024").source,
        folder=None,
        batch=1,
        seq_len=1,
        threads=1,
        memory_bytes=0,
        variants=[Variant(name="torch-eager", kind="torch-eager")],
    )
    with pytest.raises(StageFailed, match="The benchmark wanted more than 0 MiB of memory"):
        run_benchmark(spec, tmp_path)
