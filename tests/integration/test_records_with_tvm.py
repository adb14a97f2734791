"""What is written without TVM is what TVM reads."""

from __future__ import annotations

import importlib.util
import io
import json
import zipfile
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tuner.db import metaschedule, records
from tuner.db.engine import write
from tuner.db.models import Record, Workload
from tuner.targets import llvm_names

tvm = pytest.importorskip("tvm")


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


def test_metaschedule_reads_the_exported_pair(engine: Engine, tmp_path: Path) -> None:
    import tvm_ffi
    from tvm import s_tir, te
    from tvm.s_tir import meta_schedule as ms

    a = te.placeholder((16, 16), name="a")
    prim = te.create_prim_func([a, te.compute((16, 16), lambda i, j: a[i, j] * 2.0, name="b")])
    mod = tvm.IRModule({"main": prim.with_attr("global_symbol", "main")})
    schedule = s_tir.Schedule(mod)
    schedule.parallel(schedule.get_loops(schedule.get_sblock("b"))[0])
    stock = ms.database.TuningRecord(
        schedule.trace.simplified(remove_postproc=True),
        ms.database.Workload(mod),
        [1e-5],
        tvm.target.Target({"kind": "llvm", "num-cores": 2}),
        ms.arg_info.ArgInfo.from_prim_func(mod["main"]),
    )
    workload_id = f"wl-{tvm_ffi.structural_hash(mod) & (2**64 - 1):016x}"
    with write(engine) as session:
        records.put_workload(
            session, Workload(id=workload_id, name="b", summary="", flops=256.0, tir=tvm.ir.save_json(mod))
        )
        records.add(
            session,
            Record(
                workload_id=workload_id,
                target_family="llvm",
                candidate="c",
                trace=json.dumps(stock.as_json()),
                run_secs=[1e-5],
                mean_sec=1e-5,
            ),
        )

    buffer = io.BytesIO()
    metaschedule.export_archive(engine, buffer)
    with zipfile.ZipFile(buffer) as archive:
        archive.extractall(tmp_path / "stock")
    database = ms.database.JSONDatabase(work_dir=str(tmp_path / "stock"), allow_missing=False)
    assert database.has_workload(mod)
    (record,) = database.get_top_k(database.commit_workload(mod), 1)
    assert [float(sec) for sec in record.run_secs] == [1e-5]
    replayed = s_tir.Schedule(mod)
    record.trace.apply_to_schedule(replayed, remove_postproc=False)
    assert tvm_ffi.structural_equal(replayed.mod, schedule.mod)
