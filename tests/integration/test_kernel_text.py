"""A job's kernel as text: its TIR, its schedule, its code, from what the service knows of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tvm
import tvm_ffi
from sqlalchemy import delete
from sqlmodel import col
from tvm import te, tirx
from typer.testing import CliRunner, Result

from tests.support import cpus
from tests.support.rows import add_job, make_record
from tests.support.tiny_imports import local_target
from tests.support.tuning import product
from tests.support.web import Web, serve
from tuner.cli.main import app
from tuner.client.http import Client
from tuner.db.engine import write
from tuner.db.models import Evidence, JobWorkload, Record
from tuner.errors import InvalidInput, NotFound
from tuner.jobs.kernel_text import text_of
from tuner.jobs.retrying import retry
from tuner.kernels.context import Replay, make_target
from tuner.kernels.precision import ATTRIBUTE
from tuner.kernels.space import space_for
from tuner.kernels.workload import describe
from tuner.kernels.written import to_json, writer_for
from tuner.search.guess import GPU_MODEL, MODEL, RELATIVE, guess
from tuner.targets import presets

M1 = cpus.target("apple-m1")
Show = Callable[..., Result]


def kernel(trace: str = "", chosen: str | None = None, target: dict[str, Any] = M1, mod: Any = None) -> dict[str, Any]:
    tir = str(tvm.ir.save_json(mod or product(32, 64, 96)))
    return {"name": "product", "target": target, "tir": tir, "trace": trace, "chosen": chosen}


def a_trace_of(depth: int, target: dict[str, Any]) -> str:
    found = guess(product(32, depth, 96), make_target(target))
    assert found is not None
    return found.trace


def a_trace(target: dict[str, Any] = M1) -> str:
    return a_trace_of(64, target)


def test_the_steps_of_a_schedule_are_python_that_makes_it() -> None:
    mod, target = product(32, 64, 96), make_target(M1)
    sch = tvm.s_tir.Schedule(mod)
    exec(text_of(kernel(a_trace()), "schedule"), {"sch": sch})
    expected = Replay(mod, target, space_for(target)).traced(a_trace())
    assert expected is not None
    assert tvm_ffi.structural_equal(sch.mod, expected.mod)
    assert not tvm_ffi.structural_equal(sch.mod, mod)


def test_a_kernel_is_shown_as_it_is_built_with_its_constants_packed() -> None:
    script, plain = text_of(kernel(a_trace()), "tir"), text_of(kernel(chosen="plain"), "tir")
    arguments, plain_arguments = (next(x for x in text.splitlines() if "def main" in x) for text in (script, plain))
    assert 'T.Buffer((64, 96), "float32")' in plain_arguments
    assert 'T.Buffer((64, 96), "float32")' not in arguments
    assert "T.parallel" in script
    assert "plain schedule" in text_of(kernel(chosen="plain"), "schedule")


def test_code_and_assembly_are_those_of_the_target() -> None:
    assert 'target triple = "arm64-apple-macos"' in text_of(kernel(a_trace()), "code")
    assert "fmla" in text_of(kernel(a_trace()), "asm")


def test_a_kernel_of_a_gpu_has_source_and_no_assembly() -> None:
    gpu = presets.resolve("m1-metal", "local").tvm
    by_dlight = text_of(kernel("dlight", "measured: dlight", gpu), "code")
    assert "kernel void" in by_dlight
    assert "simdgroup" in text_of(kernel("", f"guessed: {GPU_MODEL}", gpu), "code")
    assert "simdgroup" not in by_dlight
    with pytest.raises(InvalidInput, match="no assembly"):
        text_of(kernel("dlight", "measured: dlight", gpu), "asm")


def test_a_guess_is_made_anew_and_one_by_other_records_is_not() -> None:
    assert text_of(kernel(chosen=f"guessed: {MODEL}"), "schedule") == text_of(kernel(a_trace()), "schedule")
    with pytest.raises(InvalidInput, match="not kept"):
        text_of(kernel(chosen=f"guessed: {RELATIVE}"), "schedule")


def test_a_kernel_that_is_written_out_shows_its_choice() -> None:
    low = tvm.IRModule({"main": product(32, 64, 96)["main"].with_attr(ATTRIBUTE, "int8")})
    writer = writer_for(low, make_target(M1))
    assert writer is not None
    choice = to_json(writer.choices[0])
    steps = text_of(kernel(choice, "measured: record c", mod=low), "schedule")
    assert json.loads(steps.partition("\n")[2]) == json.loads(choice)
    assert "int8" in text_of(kernel(choice, "measured: record c", mod=low), "tir")


def test_a_record_that_is_none_of_the_workload_is_refused() -> None:
    with pytest.raises(InvalidInput, match="can't be made again"):
        text_of(kernel('[[[],[[0,1]]],null,{"kind":"llvm"},null]'), "tir")


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    """A service with a job of two products of the same name, one of them with records."""
    with serve(tmp_path / "data") as web:
        with write(web.engine) as session:
            job = add_job(session, "tuning", id="job-1", target_json=M1, target_family="llvm-test")
            for position, depth in enumerate((64, 32)):
                workload = describe(product(32, depth, 96), "product", 1).as_row()
                session.add(workload)
                session.flush()
                session.add(JobWorkload(job_id=job.id, workload_id=workload.id, position=position))
                if depth == 64:
                    for number, sec in enumerate((2e-3, 1e-3)):
                        trace = a_trace() if number == 0 else "dlight"
                        row = make_record(f"c{number}", sec, trace=trace)
                        row.workload_id = workload.id
                        session.add(row)
        yield web


@pytest.fixture
def show(web: Web, monkeypatch: pytest.MonkeyPatch) -> Show:
    monkeypatch.setenv("TUNER_URL", web.url)
    monkeypatch.setenv("TUNER_TOKEN", web.token)
    monkeypatch.setenv("TUNER_DATA_DIR", str(web.settings.data_dir))
    return lambda *args: CliRunner().invoke(app, ["show", *args], catch_exceptions=False)


def test_a_kernel_of_a_job_is_what_its_module_has_else_its_fastest_record(web: Web, show: Show) -> None:
    first, second = (one["workload_id"] for one in json.loads(show("job-1", "--kernels", "--json").stdout))
    fastest = json.loads(show("job-1", "--kernel", first, "--json").stdout)
    assert (fastest["trace"], fastest["chosen"], fastest["target"]) == ("dlight", None, M1)
    assert json.loads(show("job-1", "--kernel", second, "--json").stdout)["trace"] == ""
    with write(web.engine) as session:
        told = [{"workload": first, "by": "measured: record c0"}, {"workload": second, "by": "measured: threads"}]
        session.add(Evidence(job_id="job-1", manifest={"schedules": told}))
    chosen = json.loads(show("job-1", "--kernel", first, "--json").stdout)
    assert (chosen["trace"], chosen["chosen"]) == (a_trace(), "measured: record c0")
    assert json.loads(show("job-1", "--kernel", second, "--json").stdout)["trace"] == "threads"
    printed = show("job-1", "--kernel", first, "--schedule").stdout
    assert printed == text_of(kernel(a_trace()), "schedule")
    with write(web.engine) as session:
        session.execute(delete(Record).where(col(Record.candidate) == "c0"))
    with pytest.raises(NotFound, match="record c0 of product was deleted"):
        show("job-1", "--kernel", first)


def test_a_candidate_that_failed_is_shown_and_tried_once_more(
    web: Web, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = local_target()
    with write(web.engine) as session:
        job = add_job(session, "tuning", id="job-here", target_json=here, target_family="llvm-here")
        workload = describe(product(32, 48, 96), "product", 1).as_row()
        session.add(workload)
        session.flush()
        session.add(JobWorkload(job_id=job.id, workload_id=workload.id))
        for name, trace in (("good", a_trace_of(48, here)), ("bad", '[[[],[[0,1]]],null,{"kind":"llvm"},null]')):
            row = make_record(name, None, job_id=job.id, trace=trace, error_class="crash", error="it died")
            row.workload_id = workload.id
            session.add(row)
    printed = show("job-here", "--failures").stdout
    assert "ended the device's session" in printed
    assert "bad" in printed
    assert "T.parallel" in show("job-here", "--candidate", "good", "--tir").stdout
    again = CliRunner().invoke(app, ["retry", "job-here", "good"], catch_exceptions=False)
    assert again.exit_code == 0, again.stdout
    assert "computes what it should" in again.stdout
    failed = CliRunner().invoke(app, ["retry", "job-here", "bad", "--json"], catch_exceptions=False)
    assert (failed.exit_code, json.loads(failed.stdout)["error_class"]) == (1, "build")


def deadly() -> Any:
    """A product whose kernel ends the process that runs it."""
    a, b = te.placeholder((32, 48), name="a"), te.placeholder((48, 96), name="b")
    k = te.reduce_axis((0, 48), "k")
    total = te.compute((32, 96), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="product")
    out = te.compute((32, 96), lambda i, j: total[i, j] + tirx.call_extern("float32", "abort"), name="deadly")
    func = te.create_prim_func([a, b, out]).with_attr("layout_free_buffers", [1])
    return tvm.IRModule({"main": func.with_attr({"global_symbol": "main", "tirx.noalias": True})})


def test_a_candidate_that_crashes_again_is_told_and_harms_nobody(web: Web, show: Show) -> None:
    here, mod = local_target(), deadly()
    found = guess(mod, make_target(here))
    assert found is not None
    with write(web.engine) as session:
        job = add_job(session, "tuning", id="job-here", target_json=here, target_family="llvm-here", trials=1)
        workload = describe(mod, "product", 1).as_row()
        session.add(workload)
        session.flush()
        session.add(JobWorkload(job_id=job.id, workload_id=workload.id, trials=1))
        row = make_record("killer", None, job_id=job.id, trace=found.trace, error_class="crash", error="it died")
        row.workload_id = workload.id
        session.add(row)
    with Client(web.url, web.token) as client:
        before = client.job("job-here"), client.failures("job-here")
        again = CliRunner().invoke(app, ["retry", "job-here", "killer", "--json"], catch_exceptions=False)
        told = json.loads(again.stdout)
        assert (again.exit_code, told["error_class"]) == (1, "crash")
        assert "SIGABRT" in told["error"]
        assert (client.job("job-here"), client.failures("job-here")) == before
        (kind,) = client.failures("job-here")
        assert (kind.error_class, kind.count, [one.attempt for one in kind.latest]) == ("crash", 1, [1])


def test_a_candidate_for_another_processor_is_built_and_not_run(tmp_path: Path) -> None:
    elsewhere = kernel(a_trace()) | {"candidate": "c"}
    assert "can't be run here" in retry(elsewhere, tmp_path, 60.0)["not_run"]


def test_a_kernel_that_is_not_named_well_is_refused(web: Web, show: Show) -> None:
    with pytest.raises(InvalidInput, match="no kernel 'conv'"):
        show("job-1", "--kernel", "conv")
    with pytest.raises(InvalidInput, match="2 kernels are called product"):
        show("job-1", "--kernel", "product")
    for wrong in (("--asm",), ("--kernel", "product", "--asm", "--tir")):
        assert show("job-1", *wrong).exit_code == 2
    with write(web.engine) as session:
        add_job(session, "tuning", id="job-2")
    rows = json.loads(show("job-1", "--kernels", "--json").stdout)
    with Client(web.url, web.token) as client, pytest.raises(NotFound, match="job-2 has no kernel"):
        client.kernel("job-2", rows[0]["workload_id"])
