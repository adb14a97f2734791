"""``python -m benchmarks.again``: times guesses and what is best on record once more, for shipped logs of this machine.

A search times its first candidates in the first session of a job; where a shared machine gives both its cores the
units of one just then, all of that session's took twice as long. Who judges guesses by that judges the moment. Here the
guess of each kernel, the best few on record, those that took twice their time and those that were disturbed in a short
look are timed in turns, over all kernels of a log and round after round, and written back.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from sqlalchemy import Engine
from sqlmodel import select

from benchmarks import devices, report
from rpc.facts import physical_cores
from rpc.versions import PINS
from tuner.cli.common import console, notes, run_app, settings_with
from tuner.db import clock, log, records
from tuner.db.engine import make_engine, read, write
from tuner.db.migrate import upgrade
from tuner.db.models import Record, Workload
from tuner.errors import InvalidInput
from tuner.kernels.context import built_arguments, make_target
from tuner.kernels.extents import is_symbolic, nominal, points, shapes
from tuner.kernels.workload import module_from_json
from tuner.lengths import UNKNOWN_LONGEST, default_mix
from tuner.measuring.build_process import BuildJob
from tuner.measuring.builder import BuildPool
from tuner.measuring.looks import is_hopeless
from tuner.measuring.measure import COLD_WEIGHT_BYTES, DeviceAddress, Probe, measure
from tuner.measuring.repeats import USUAL
from tuner.search.entrants import Entrant, entrants_of
from tuner.search.shipped import logs_folder
from tuner.targets import triples

_BEST, _ROUNDS = 16, 5
_SUSPECT, _MOST_SUSPECTS = 1.8, 24  # times the best on record
_MOST = 1000  # records of a workload
_BUILD_SEC, _LEASE_SEC, _SESSION_SEC = 60.0, 30.0, 300.0


def main(
    model: Annotated[str, typer.Argument(metavar="[MODEL]", help="Of the log's name.", show_default="all")] = "*",
) -> None:
    """Time them on this machine, which should be idle, and write them into the logs of its family."""
    threads = physical_cores()
    family = triples.family(devices.own_target(threads))
    paths = sorted(logs_folder(settings_with()).glob(f"{triples.file_name(family)}.{model}.jsonl.gz"))
    if not paths:
        raise InvalidInput(
            f"No shipped log is of this machine's family, {family}.", "`benchmarks.recording` makes one."
        )
    folder = report.OUT / "again"
    shutil.rmtree(folder, ignore_errors=True)
    with devices.own_device(folder, threads) as port, closing(BuildPool(threads, _BUILD_SEC)) as builders:
        device = DeviceAddress(devices.HOST, port, devices.KEY, _LEASE_SEC, _SESSION_SEC)
        for path in paths:
            go_over(path, folder / path.name, device, builders)
    console.print(f"written: {', '.join(path.name for path in paths)}")


def go_over(path: Path, folder: Path, device: DeviceAddress, builders: BuildPool) -> None:
    """Time what a log holds once more and write it anew; ``folder`` is for what that takes."""
    settings = settings_with(data_dir=folder)
    upgrade(settings)
    engine = make_engine(settings)
    try:
        with path.open("rb") as file:
            log.import_file(engine, file)
        turns = [_prepared(engine, *one, builders, folder / "built") for one in workloads_of(engine)]
        for n in range(_ROUNDS):
            notes.print(f"{path.name}: round {n + 1} of {_ROUNDS}", highlight=False)
            for one in turns:
                one.take(device)
        for one in turns:
            _keep(engine, one)
        write_log(engine, path)
    finally:
        engine.dispose()


def workloads_of(engine: Engine) -> list[tuple[Workload, str]]:
    """What a log holds: workloads, and the family of their records."""
    with read(engine) as db:
        found = db.exec(select(Record.workload_id, Record.target_family).distinct()).all()
        return [(db.get_one(Workload, workload), family) for workload, family in found]


@dataclass(frozen=True)
class _Turns:
    """A workload's guess and records, built, and their seconds so far; ``others`` are the records alone."""

    workload: Workload
    family: str
    target: Any
    entrants: list[Entrant]
    others: list[Entrant]
    probes: list[Probe]
    secs: dict[int, list[float]]

    @property
    def is_cold(self) -> bool:
        """Are its constants measured out of cache?"""
        return self.workload.weight_bytes >= COLD_WEIGHT_BYTES

    def take(self, device: DeviceAddress) -> None:
        """Time each once, one after the other."""
        measure(
            device, self.probes, self.is_cold, None, None, lambda one, got: self.secs[one.number].extend(got.run_secs)
        )


def _prepared(engine: Engine, workload: Workload, family: str, builders: BuildPool, folder: Path) -> _Turns:
    with read(engine) as db:
        best = records.best(db, workload.id, family, _BEST)
        slow = [one for one in records.best(db, workload.id, family, _MOST) if is_suspect(one, best[0])]
        described = db.exec(select(Record.target_json).where(Record.workload_id == workload.id)).first()
    mod, target = module_from_json(workload.tir), make_target(described)
    guesses, others = (
        entrants_of(mod, [], target)[0][1:],
        entrants_of(mod, [*best, *slow[:_MOST_SUSPECTS]], target)[0][1:],
    )
    entrants = list({one.kernel: one for one in (*guesses, *others)}.values())
    jobs = [
        BuildJob(one.tir, json.dumps(described), str(folder / f"{workload.id}-{n}.so"))
        for n, one in enumerate(entrants)
    ]
    built = builders.build(jobs)
    probes = [_probe(n, one.path, entrants[n].mod) for n, one in enumerate(built) if not one.error_class]
    secs: dict[int, list[float]] = {probe.number: [] for probe in probes}
    return _Turns(workload, family, described, entrants, others, probes, secs)


def _probe(number: int, path: str, mod: Any) -> Probe:
    """Kernels of texts are timed for the mix that jobs take where nobody says how long texts are."""
    if not is_symbolic(function := mod["main"]):
        return Probe(number, path, built_arguments(mod))
    mix = default_mix(UNKNOWN_LONGEST).weights()
    return Probe(number, path, shapes(function, nominal(function)), points(function, mix))


def _keep(engine: Engine, turns: _Turns) -> None:
    """Each becomes its candidate's record, in place of what an earlier release measured of the same choice."""
    with write(engine) as db:
        for row in {one.record.id for one in turns.others if one.record and one.record.candidate != one.kernel}:
            db.delete(db.get_one(Record, row))
        for number, run_secs in turns.secs.items():
            if run_secs:
                _store(db, turns, turns.entrants[number], run_secs)


def is_suspect(one: Record, best: Record) -> bool:
    """May it be better than its record says? It took far longer than the best, or one of two repeats did."""
    if one.mean_sec is None or best.mean_sec is None:
        return False
    was_dropped = len(one.run_secs) < USUAL.count and not is_hopeless(one.run_secs, best.mean_sec)
    return was_dropped or one.mean_sec > _SUSPECT * best.mean_sec


def _store(db: Any, turns: _Turns, entrant: Entrant, run_secs: list[float]) -> None:
    workload, family = turns.workload.id, turns.family
    trace = entrant.guess.trace if entrant.guess is not None else entrant.record.trace if entrant.record else ""
    row = records.get(db, workload, family, entrant.kernel) or Record(
        workload_id=workload, target_family=family, candidate=entrant.kernel, trace=trace, target_json=turns.target
    )
    row.run_secs, row.mean_sec, row.error_class, row.error = run_secs, median(run_secs), "", ""
    row.evaluator, row.tvm_version = USUAL.as_kept(turns.is_cold), PINS["apache-tvm"]
    row.device, row.created_at, row.canary_ratio = devices.KEY, clock.now(db), None
    db.add(row)


def write_log(engine: Engine, path: Path) -> None:
    """All that the database holds in place of a log."""
    draft = path.with_suffix(".new")
    with gzip.GzipFile(draft, "wb", mtime=0) as file:
        for line in log.export_lines(engine, failed=True):
            file.write(line.encode())
    os.replace(draft, path)


if __name__ == "__main__":
    run_app(lambda: typer.run(main))
