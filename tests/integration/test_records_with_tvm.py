"""What is written without TVM is what TVM reads."""

from __future__ import annotations

import importlib.util
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
import tvm_ffi
from sqlalchemy import Engine
from tvm import relax, s_tir, te
from tvm.s_tir import meta_schedule as ms

from tests.support import databases
from tests.support.rows import make_record
from tuner.cli.records import zipped_pair
from tuner.config import Settings
from tuner.db import metaschedule, records
from tuner.db.engine import make_engine, write
from tuner.db.log import export_lines
from tuner.db.models import Workload
from tuner.legacy import store
from tuner.targets import llvm_names

TARGET = {"kind": "llvm", "num-cores": 2}


def test_the_names_of_cpus_and_features_are_llvms() -> None:
    path = Path(__file__).parents[2] / "tools" / "llvm_names.py"
    spec = importlib.util.spec_from_file_location("llvm_names", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for arch, names in module.known_names().items():
        assert llvm_names.cpus(arch) == names["cpus"], "run python tools/llvm_names.py"
        assert llvm_names.features(arch) == names["features"], "run python tools/llvm_names.py"
        assert len(names["features"]) > 100


@dataclass
class Measured:
    """A kernel, and what its candidates make of it."""

    mod: Any
    workload_id: str
    schedules: dict[str, Any]


@pytest.fixture
def measured(engine: Engine) -> Measured:
    """Two records of a kernel as a job writes them: a trace is stored before it is timed."""
    a = te.placeholder((16, 16), name="a")
    prim = te.create_prim_func([a, te.compute((16, 16), lambda i, j: a[i, j] * 2.0, name="b")])
    mod = tvm.IRModule({"main": prim.with_attr("global_symbol", "main")})
    number = tvm_ffi.structural_hash(mod) & (2**64 - 1)
    found = Measured(mod, f"wl-{number:016x}", {})
    with write(engine) as session:
        records.put_workload(
            session, Workload(id=found.workload_id, name="b", summary="", flops=256.0, tir=tvm.ir.save_json(mod))
        )
        for candidate, seconds in (("slow", 3e-5), ("fast", 1e-5)):
            schedule = s_tir.Schedule(mod)
            loops = schedule.get_loops(schedule.get_sblock("b"))
            schedule.parallel(loops[0]) if candidate == "fast" else schedule.unroll(loops[1])
            found.schedules[candidate] = schedule.mod
            trace = json.dumps(record_of(mod, schedule.trace.simplified(remove_postproc=True), None).as_json())
            records.add(
                session,
                make_record(candidate, seconds, number, "llvm", trace=trace, target_json=TARGET),
            )
    return found


def record_of(mod: Any, trace: Any, run_secs: list[float] | None, workload: Any = None) -> Any:
    """A record as TVM has it."""
    arguments = ms.arg_info.ArgInfo.from_prim_func(mod["main"])
    target = tvm.target.Target(TARGET)
    return ms.database.TuningRecord(trace, workload or ms.database.Workload(mod), run_secs, target, arguments)


@pytest.fixture
def exported(engine: Engine, measured: Measured) -> io.BytesIO:
    archive = io.BytesIO()
    metaschedule.export_archive(engine, archive)
    return archive


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Engine]:
    """Another service's database."""
    settings = Settings(data_dir=tmp_path / "elsewhere", database_url=None)
    databases.create(settings)
    engine = make_engine(settings)
    yield engine
    engine.dispose()


def stock_database(exported: io.BytesIO, folder: Path) -> Any:
    with zipfile.ZipFile(exported) as archive:
        archive.extractall(folder)
    return ms.database.JSONDatabase(work_dir=str(folder), allow_missing=False)


def test_metaschedule_finds_the_best_of_the_exported_pair(
    exported: io.BytesIO, measured: Measured, tmp_path: Path
) -> None:
    database = stock_database(exported, tmp_path)
    assert database.has_workload(measured.mod)
    best = database.query_tuning_record(measured.mod, tvm.target.Target(TARGET), "main")
    assert [float(sec) for sec in best.run_secs] == [1e-5]
    replayed = s_tir.Schedule(measured.mod)
    best.trace.apply_to_schedule(replayed, remove_postproc=False)
    assert tvm_ffi.structural_equal(replayed.mod, measured.schedules["fast"])


def test_a_model_is_compiled_from_the_exported_pair(exported: io.BytesIO, measured: Measured, tmp_path: Path) -> None:
    database, target = stock_database(exported, tmp_path), tvm.target.Target(TARGET)
    builder, x = relax.BlockBuilder(), relax.Var("x", relax.TensorType((16, 16), "float32"))
    with builder.function("model", [x]):
        kernel = builder.add_func(measured.mod["main"].without_attr("global_symbol"), "double")
        builder.emit_func_output(builder.emit(relax.call_tir(kernel, [x], relax.TensorType((16, 16), "float32"))))
    with target, database:
        tuned = relax.transform.MetaScheduleApplyDatabase(enable_warning=True)(builder.get())
    assert "T.parallel" in tuned["double"].script()
    run = relax.VirtualMachine(tvm.compile(tuned, target=target), tvm.cpu())["model"]
    given = np.arange(256, dtype="float32").reshape(16, 16)
    np.testing.assert_array_equal(run(tvm.runtime.tensor(given)).numpy(), given * 2)


def test_the_exported_pair_comes_in_again_as_the_same_records(
    engine: Engine, exported: io.BytesIO, elsewhere: Engine
) -> None:
    for imported, duplicates in ((2, 0), (0, 2)):
        exported.seek(0)
        out = store.import_file(elsewhere, exported)
        assert (out.imported, out.duplicates, out.errors) == (imported, duplicates, [])
    timed = [json.loads(line) for line in export_lines(engine)]
    for line in timed:
        line["record"]["trace"][1] = line["record"]["run_secs"]
    assert [json.loads(line) for line in export_lines(elsewhere)] == timed


def test_a_pair_that_tvm_wrote_comes_in(elsewhere: Engine, measured: Measured, tmp_path: Path) -> None:
    written = ms.database.JSONDatabase(work_dir=str(tmp_path))
    workload = written.commit_workload(measured.mod)
    for seconds, factors in ((2e-5, [4, 4]), (1e10, [2, 8])):
        schedule = s_tir.Schedule(measured.mod)
        schedule.split(schedule.get_loops(schedule.get_sblock("b"))[0], factors)
        written.commit_tuning_record(record_of(measured.mod, schedule.trace, [seconds], workload))
    archive = io.BytesIO(zipped_pair(tmp_path))
    assert store.import_file(elsewhere, archive).errors == []
    told = [json.loads(line) for line in export_lines(elsewhere, failed=True)]
    assert {line["workload"]["id"] for line in told} == {measured.workload_id}
    assert [(line["record"]["run_secs"], line["record"]["error_class"]) for line in told] == [([2e-5], ""), ([], "run")]
