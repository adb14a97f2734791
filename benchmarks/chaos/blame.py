"""Were candidates that are said to be bad really bad? Each is built and run again where nothing goes wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tvm
from sqlalchemy import Engine

from benchmarks.devices import HOST, KEY, own_device
from tuner.db.engine import read
from tuner.db.models import Record, Workload
from tuner.kernels.context import Replay, built_arguments, make_target
from tuner.kernels.space import space_for
from tuner.kernels.workload import module_from_json
from tuner.measuring.build_process import BuildJob
from tuner.measuring.builder import BuildPool
from tuner.measuring.measure import DeviceAddress, Measured, Probe, measure
from tuner.measuring.outputs import OutputCheck


@dataclass(frozen=True)
class _Suspect:
    """A candidate by its name and its module."""

    id: str
    tir: str
    tir_to_check: str = ""


def wrongly_blamed(engine: Engine, failed: Sequence[Record], folder: Path, threads: int) -> list[Record]:
    """Those of the failed records whose candidate builds, runs and computes what it should."""
    if not failed:
        return []
    pool = BuildPool(workers=1, timeout_sec=60.0)
    try:
        with own_device(folder, threads) as port:
            device = DeviceAddress(HOST, port, KEY, 30.0, 120.0)
            return [record for record in failed if _is_good(engine, record, pool, device, folder)]
    finally:
        pool.close()


def _is_good(engine: Engine, record: Record, pool: BuildPool, device: DeviceAddress, folder: Path) -> bool:
    with read(engine) as db:
        workload = db.get_one(Workload, record.workload_id)
    mod, target = module_from_json(workload.tir), make_target(record.target_json)
    schedule = Replay(mod, target, space_for(target)).schedule(record.trace)
    if schedule is None:
        return False
    text, tir = json.dumps(record.target_json), str(tvm.ir.save_json(schedule.mod))
    if record.error_class == "wrong":
        check = OutputCheck(mod, text, device, pool, folder / "expected")
        return check.problem_of(_Suspect(record.candidate, tir), folder / "checked") is None
    (built,) = pool.build([BuildJob(tir, text, str(folder / "again" / f"{record.candidate}.so"))])
    if built.error_class:
        return False
    found: list[Measured] = []
    probe = Probe(0, built.path, built_arguments(schedule.mod))
    measure(device, [probe], False, None, None, lambda _, result: found.append(result))
    return not found[0].error_class
