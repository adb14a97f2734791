"""What an engine worker runs, by name. Each reads the database, writes it, and may be run again at any time.

The first stage of a process pays for importing TVM, the first that imports a model for PyTorch; searches, cost models
and build processes stay warm.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec

from sqlmodel import Session

import rpc.errors
from tuner.config import Settings
from tuner.db import events, jobs, known, models_, records
from tuner.db.engine import read, write
from tuner.db.models import Job, JobWorkload, Record
from tuner.errors import DeviceUnavailable, ProcessLost
from tuner.importers.operators import catalog
from tuner.importers.operators.files import is_own
from tuner.importers.sentences import check_sentences, know_sentences
from tuner.jobs import contenders, deliver, from_records, housekeeping, job_folders, making, publish, seclusion, tuning
from tuner.jobs.choice import Choice
from tuner.jobs.contest import TUNED
from tuner.jobs.workbench import (
    database,
    device_address,
    fetched_of,
    finals_of,
    gate_of,
    imported_of,
    job_of,
    peak_of,
    remote_device,
    say,
    shape_of,
    tuner_of,
)
from tuner.kernels.context import make_target
from tuner.kernels.dots import dots_of
from tuner.kernels.precision import FASTEST, FULL
from tuner.kernels.workload import ExtractedWorkload
from tuner.legacy import seeds
from tuner.measuring.outputs import RIGHT
from tuner.measuring.peaks import know_peak
from tuner.search import shipped

log = logging.getLogger(__name__)

P = ParamSpec("P")
_DEVICE_LOG = "Look at what the agent there printed; for this machine's own device it is in run/logs/device.log."
_FINALISTS = 4  # records of a workload that are measured once more before compiling


def _stage(function: Callable[P, None]) -> Callable[P, None]:
    """Turn a device that does not come, or does not stay, into an error of the service."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except rpc.errors.DeviceUnavailable as error:
            raise DeviceUnavailable(error.message, error.hint) from error
        except rpc.errors.SessionLost as error:
            raise ProcessLost(f"A session on the device was lost: {error.message}", _DEVICE_LOG) from error

    return run


def _secluded(function: Callable[P, None]) -> Callable[P, None]:
    """Run the stage in a process of its own where the job holds what others wrote; ``seclusion`` says why."""
    names = tuple(inspect.signature(function).parameters)

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        given: dict[str, Any] = dict(zip(names, args, strict=False)) | kwargs
        settings, job_id = given.pop("settings"), given.pop("job_id")
        job = job_of(settings, job_id)
        kept = seclusion.kept()
        kept.leave(job_id)
        if not _is_of_others(settings, job):
            function(*args, **kwargs)
            return
        most = making.most_bytes(settings.imports_dir, imported_of(settings, job))
        kept.run(settings, function.__name__, job_id, given, job.source_json.get("name", job_id), most)

    return run


def _is_of_others(settings: Settings, job: Job) -> bool:
    if is_own(job.source_json.get("location", "")):
        return True
    with read(database(settings)) as db:
        return known.holds_imported(db, job)


@_stage
def import_model(settings: Settings, job_id: str) -> None:
    """Load the model, export it, rewrite its graph, compute what it must compute; all into the import cache."""
    job = job_of(settings, job_id)
    imported = imported_of(settings, job)
    if job.precision != FULL:
        check_sentences(imported)
    with write(database(settings)) as db:
        job = jobs.get(db, job_id)
        job.import_key, job.weights = imported.key, imported.weights
        models_.complete(
            db,
            job,
            imported.head,
            family=imported.family,
            max_seq_len=imported.max_seq_len,
            weights=imported.weights,
        )
        if imported.note:
            events.emit(db, "message", {"message": imported.note}, job_id)
    for gone in housekeeping.make_room(settings, database(settings)):
        log.info("import %s went: %s", gone.name, gone.why)


@_secluded
@_stage
def extract(settings: Settings, job_id: str) -> None:
    """List the model's workloads, bring in shipped records that fit them, and time their plain schedules."""
    engine, job = database(settings), job_of(settings, job_id)
    imported = imported_of(settings, job)
    found = contenders.all_of(contenders.workloads_of(settings, job, imported))
    choice = Choice(job.only, job.skip)
    choice.check(imported.name, [(one.name, one.id) for one in found])
    if not job.cold:
        ids = {w.id for w in found}
        brought = shipped.bring_in(engine, settings, ids, job.target_family)
        if brought.imported:
            say(settings, job_id, f"brought in {brought.imported} shipped records")
    plain_us = {} if job.compile_only else _time_plainly(settings, job, found)
    with write(engine) as db:
        for position, one in enumerate(found):
            records.put_own_workload(db, one.as_row())
            best = _best(db, job, one.id, 1)
            link = db.get(JobWorkload, (job_id, one.id)) or JobWorkload(job_id=job_id, workload_id=one.id)
            link.position, link.weight = position, one.weight
            link.tunable = one.tunable and not choice.leaves_out(one.name, one.id)
            link.untuned_us = plain_us.get(one.id)
            if link.best_us is None and best and best[0].mean_sec:
                link.best_us = best[0].mean_sec * 1e6
            db.add(link)
        events.emit(db, "workloads", {"count": len(found)}, job_id)
    if not job.cold and not job.compile_only and catalog.is_operator(imported.location):
        operator, (one,) = catalog.parse(imported.location), found
        kinds = seeds.kinds_like(job.target_json["kind"])
        shipped.bring_in_of_ansor(engine, settings, operator.kind.name, kinds)
        replay_all = functools.partial(tuner_of(settings).vetting.replay_steps, one.tir, job.target_json)
        seeded = seeds.bring_in(engine, job, operator, one.id, replay_all)
        if seeded.message:
            say(settings, job_id, seeded.message)


def _time_plainly(settings: Settings, job: Job, found: list[ExtractedWorkload]) -> dict[str, float]:
    """Microseconds of each workload's plain schedule on the device, those that ran."""
    tuner = tuner_of(settings)
    if job.target_json["kind"] == "llvm" and peak_of(settings, job) is None:  # what is measured is the CPU
        know_peak(database(settings), device_address(settings, job), tuner.builders, settings.root / "canaries")
    timed = finals_of(settings, job, tuner).time_plain(found)
    return {workload: seconds * 1e6 for workload, seconds in timed.items()}


@_secluded
@_stage
def tune_round(settings: Settings, job_id: str, round_id: str) -> None:
    """Run one planned round."""
    job_folders.make(settings, database(settings), job_id)
    tuner_of(settings).run(job_id, round_id)


@_secluded
@_stage
def compile_module(settings: Settings, job_id: str) -> None:
    """Measure the best few records of each workload once more, then compile the winners and the plain schedules.

    A job that only compiles measures nothing: it takes the fastest record as it is.
    """
    engine, job = database(settings), job_of(settings, job_id)
    imported = imported_of(settings, job)
    job_folders.make(settings, engine, job_id)
    with read(engine) as db:
        rows = jobs.workloads(db, job_id, with_tir=True)
        found = {w.id: _best(db, job, w.id, _FINALISTS) for _, w in rows}
        unknown = [] if job.cold else [w for _, w in rows if not found[w.id]]
        like_them = from_records.relatives(db, unknown, job.target_family)
        given_up = tuning.given_up(jobs.rounds(db, job_id))
    tuner = tuner_of(settings)
    best = {w.id: tuner.vetting.usable(found[w.id], w.tir, job.target_json) for _, w in rows}
    if job.compile_only:
        kernels = [(link.weight, workload) for link, workload in rows]
        wanted = from_records.Wanted(imported, job.batch, job.seq_len, job.target_json, job.precision)
        known = {workload: usable[0] for workload, usable in best.items() if usable}
        folder = _module_folder(settings, job_id)
        from_records.compile_known(settings.imports_dir, wanted, kernels, known, folder, like_them)
        return
    tuner.forget(job_id)
    finals = finals_of(settings, job, tuner)
    decided = {}
    for number, (_, workload) in enumerate(rows, 1):
        say(settings, job_id, f"measuring the best kernels once more ({number}/{len(rows)})")
        near = like_them.get(workload.id, ())
        decided[workload.id] = finals.decide(workload.id, workload.tir, workload.weight_bytes, best[workload.id], near)
    members = contenders.members(settings, job, imported, rows)
    took_us = {}
    with write(engine) as db:
        job = jobs.get(db, job_id)
        for link, workload in jobs.workloads(db, job_id):
            final = decided[workload.id]
            if final.winner:
                link.best_us = final.winner.seconds * 1e6
            for record, problem in final.checked:
                records.judge(db, workload.id, job.target_family, record.candidate, *(problem or RIGHT))
            if final.plain:
                link.untuned_us = final.plain.seconds * 1e6
            took_us[workload.id] = link.weight * (link.best_us or link.untuned_us or 0.0)
        entered = contenders.contenders(members, took_us)
        job.predicted_ms = min(one.predicted_ms for one in entered)
    say(settings, job_id, "compiling the module")
    deliver.compile_job(settings, job, imported, entered, decided, finals.canary_us, given_up)


@_stage
def verify(settings: Settings, job_id: str) -> None:
    """Compare the compiled module's outputs with PyTorch's on real text.

    That of a job that only compiles is run if it is for this machine, and published at once.
    """
    engine, job = database(settings), job_of(settings, job_id)
    imported = imported_of(settings, job)
    if not deliver.is_staged(settings, job):
        compile_module(settings, job_id)
    gate = gate_of(settings, job)
    if job.precision != FULL:
        dots = dots_of(make_target(job.target_json))
        only = None if job.precision == FASTEST else job.precision
        tell = functools.partial(say, settings, job_id)
        know_sentences(settings.imports_dir, fetched_of(settings, job), imported, shape_of(job), gate, dots, only, tell)
        say(settings, job_id, "comparing the module with it on the sentences")
    if job.compile_only:
        folder = _module_folder(settings, job_id)
        manifest = from_records.verify_here(settings.imports_dir, imported, folder, f"module of {job_id}", gate)
        publish.publish_unmeasured(settings, engine, job_id, folder, manifest)
        return
    deliver.verify_job(settings, job, imported, remote_device(settings, job), gate)


@_stage
def benchmark(settings: Settings, job_id: str) -> None:
    """Time the module, on this machine beside PyTorch, and publish the artifact."""
    engine, job = database(settings), job_of(settings, job_id)
    with read(engine) as db:
        model = models_.get(db, job.model_id)
        flops = jobs.flops(db, [job_id]).get(job_id, 0.0)
    if not deliver.is_staged(settings, job, verified=True):
        verify(settings, job_id)

    def progress(done: int, total: int) -> None:
        if total:
            say(settings, job_id, f"timing it (round {done}/{total})")

    imported, device = imported_of(settings, job), remote_device(settings, job)
    terms = deliver.Terms(device, peak_of(settings, job), tuner_of(settings).canaries.library(job), flops)
    deliver.benchmark_job(settings, engine, job, model, imported, terms, progress)


def _module_folder(settings: Settings, job_id: str) -> Path:
    return deliver.staging(settings, job_id) / TUNED


def _best(db: Session, job: Job, workload_id: str, k: int) -> list[Record]:
    """The ``k`` fastest records that the job may use: all there are, or its own when it is cold."""
    return records.best(db, workload_id, job.target_family, k, job_id=job.id if job.cold else None)
