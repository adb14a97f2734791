"""The last stages of a job: compile, verify against PyTorch, time beside it, publish; between them a staging folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session

from rpc.facts import device_facts
from rpc.quiet import measuring
from tuner.artifact.symbols import DEVICE, load_check
from tuner.bench.baselines import arithmetic, baselines
from tuner.bench.launch import TIMEOUT_SEC, run_benchmark
from tuner.bench.remote import run_remote_benchmark
from tuner.bench.spec import Result, Spec, Timing, Variant
from tuner.compiler.module import base_manifest, read_manifest, seal, write_manifest
from tuner.config import Settings
from tuner.db import benchmarks, events
from tuner.db.models import Artifact, Benchmark, Job, Model, Record
from tuner.importers import cache
from tuner.importers.cache import Imported
from tuner.importers.operators.files import is_own
from tuner.importers.sentences import Gate
from tuner.importers.snapshot import Fetched
from tuner.jobs import against, publish
from tuner.jobs.contenders import Contender, Rows
from tuner.jobs.contest import TUNED, UNTUNED, compared, is_near, named_by_speed
from tuner.jobs.making import Module, check_loss, holds_foreign, is_foreign, most_bytes, verification
from tuner.jobs.provenance import keep_records, units_of
from tuner.jobs.terms import ROUNDS, rounds_of, told
from tuner.jobs.workbench import fetched_of
from tuner.kernels.left_out import in_words
from tuner.kernels.precision import FULL, LOWER
from tuner.measuring.measure import DeviceAddress
from tuner.measuring.remote import RemoteModule, session
from tuner.search.finals import Final
from tuner.targets.roofline import Peak

_PER_ROUND = 5
_RIVAL_SEC, _LONGEST_SEC = 240.0, 3000.0  # for each rival; a stage has an hour
_QUIET_SEC = 600.0  # a person's build is waited for so long
_MAX_SEC, _TEXTS_MAX_SEC = 120.0, 45.0  # of timing; a run of a large model takes seconds, one of texts is of many


def staging(settings: Settings, job_id: str) -> Path:
    """Where a job's modules lie until they are published; it is removed when the job ends."""
    return settings.jobs_dir / job_id / "staging"


def is_staged(settings: Settings, job: Job, verified: bool = False) -> bool:
    """Are the job's modules here, or, with ``verified``, also seen to be right?"""
    found = staged(settings, job)
    return TUNED in found and all(not verified or "verification" in manifest for manifest in found.values())


def staged(settings: Settings, job: Job) -> dict[str, dict[str, Any]]:
    """Manifests of the job's modules that are here, by name: the untuned one, those that compete at lower precisions,
    and the tuned one, which is made last."""
    folders = {name: staging(settings, job.id) / name for name in (UNTUNED, *LOWER, TUNED)}
    return {name: read_manifest(folder) for name, folder in folders.items() if (folder / "manifest.json").is_file()}


def compile_job(
    settings: Settings,
    job: Job,
    imported: Imported,
    contenders: list[Contender],
    decided: Mapping[str, Final],
    canary_us: float | None,
    given_up: Mapping[str, str],
) -> None:
    """Compile the winners at each precision, and beside them the plain schedules as the untuned module. The first
    contender is the tuned module until another one is quicker.

    ``decided`` is the outcome of each workload's finals; one without a winner gets the plain schedule. ``canary_us`` is
    what the reference kernel took meanwhile, ``given_up`` why workloads, by id, were not tuned to their end.
    """
    _compile(settings, job, imported, UNTUNED, FULL, {}, {})
    for contender in reversed(contenders):
        name = TUNED if contender is contenders[0] else contender.precision
        ids = {workload.id for _, workload in contender.rows}
        found = _Winners.of(contender.rows, decided)
        folder = _compile(settings, job, imported, name, contender.precision, found.traces, found.kept)
        kernels = [(link.weight, workload) for link, workload in contender.rows]
        units = units_of(kernels, {tir: trace for tir, (trace, _) in found.traces.items()}, job.target_json)
        said = keep_records(folder, kernels, found.kept, found.ready_made, found.left_out, units=units)
        manifest = read_manifest(folder) | said
        manifest |= {"predicted_ms": contender.predicted_ms, "canary": {"kernels_us": canary_us}}
        if reasons := {workload: why for workload, why in given_up.items() if workload in ids}:
            names = {workload.id: workload.name for _, workload in contender.rows}
            manifest["given_up"] = [f"{names[workload]}: {why}" for workload, why in reasons.items()]
        write_manifest(folder, manifest)


@dataclass(frozen=True)
class _Winners:
    """Of a module's workloads: traces and run times by TIR, records by id, names of ready-made schedules and guesses
    likewise, and what was left out, in words."""

    traces: dict[str, tuple[str, list[float]]]
    kept: dict[str, Record]
    ready_made: dict[str, str]
    left_out: list[str]

    @classmethod
    def of(cls, rows: Rows, decided: Mapping[str, Final]) -> _Winners:
        found = cls({}, {}, {}, [])
        for _, workload in rows:
            final = decided[workload.id]
            found.left_out.extend(in_words(one.candidate, workload.name, reason) for one, reason in final.left_out)
            if final.winner is None or not final.winner.trace:
                continue
            found.traces[workload.tir] = (final.winner.trace, final.winner.run_secs)
            if final.winner.record is not None:
                found.kept[workload.id] = final.winner.record
            else:
                found.ready_made[workload.id] = final.winner.name
        return found


def _compile(
    settings: Settings,
    job: Job,
    imported: Imported,
    name: str,
    precision: str,
    winners: Mapping[str, tuple[str, list[float]]],
    kept: Mapping[str, Record],
) -> Path:
    folder = staging(settings, job.id) / name
    module = Module(settings.imports_dir, imported, folder, holds_foreign(imported, kept), precision)
    compiled = module.compile(job.target_json, winners)
    about = base_manifest(imported, job.batch, job.seq_len, job.target_json, compiled)
    write_manifest(folder, about | {"precision": precision})
    return folder


def verify_job(settings: Settings, job: Job, imported: Imported, device: DeviceAddress | None, gate: Gate) -> None:
    """Run the staged modules on the import's samples, on ``device`` or (None) here.

    Raises VerificationFailed when an output is out of tolerance, PrecisionLossTooLarge when the module that was asked
    for loses too much; one that only competes does not win then.
    """
    for name, manifest in staged(settings, job).items():
        folder, what = staging(settings, job.id) / name, f"{name} module of {job.id}"
        precision = manifest.get("precision", FULL)
        foreign, only_compared = is_foreign(imported, manifest), name == UNTUNED
        module = Module(settings.imports_dir, imported, folder, foreign, precision, gate, only_compared)
        if device is None:
            found = module.verify(what)
        else:
            with session(device) as remote:
                found = verification(RemoteModule(remote, folder).run, module, what)
        if name == TUNED:
            check_loss(found, precision, what)
        manifest |= {"verification": found} | load_check(DEVICE, job.target_json)
        write_manifest(folder, manifest)


@dataclass(frozen=True)
class Terms:
    """How a benchmark is held: on a device or (None) here, against the target's peak, with this canary's library; a
    call takes so many floating-point operations, as its kernels tell."""

    device: DeviceAddress | None
    peak: Peak | None
    canary: str | None
    flops: float


def benchmark_job(
    settings: Settings,
    engine: Engine,
    job: Job,
    model: Model,
    imported: Imported,
    terms: Terms,
    progress: Callable[[int, int], None],
) -> None:
    """Time the staged modules, here beside PyTorch; store the figures, publish the artifact."""
    folder = staging(settings, job.id)
    manifests = {name: one for name, one in staged(settings, job).items() if is_near(one)}
    absent = dict.fromkeys(job.against, "Rivals are timed on the service's machine; the job's device is another.")
    if terms.device is None:
        spec = _spec(job, model, fetched_of(settings, job), manifests, folder, terms.canary)
        rivals, absent = against.entries(settings, engine, job.against)
        spec.variants += rivals
        spec.keras_python = settings.keras_python
        if is_own(imported.location):
            spec.memory_bytes = most_bytes(settings.imports_dir, imported)
        with measuring(settings.quiet_lock, _QUIET_SEC):
            timeout_sec = min(TIMEOUT_SEC + len(rivals) * _RIVAL_SEC, _LONGEST_SEC)
            result = run_benchmark(spec, folder / "benchmark", progress, timeout_sec)
        facts = device_facts()
    else:
        inputs = cache.load_samples(settings.imports_dir, imported)[0].inputs
        folders = {name: folder / name for name in manifests}
        result, facts = run_remote_benchmark(
            terms.device, folders, inputs, rounds_of(job), _PER_ROUND, _most_sec(job), terms.canary, progress
        )
    winner, result = named_by_speed(result, manifests)
    absent |= result.absent
    timings = {timing.variant: timing for timing in result.timings}
    manifest = manifests[winner] | compared(staged(settings, job), timings)
    manifest |= arithmetic(model, timings, terms.peak, terms.flops)
    manifest |= {
        "device": facts,
        "terms": told(job),
        "canary": manifest["canary"] | {"model_us": result.canary_us},
        "latency": _figures(timings[TUNED]),
        "baselines": {name: _figures(timing) for name, timing in timings.items() if name != TUNED},
    }
    sealed = seal(folder / winner, manifest)

    def keep_figures(db: Session, row: Job, stored: Artifact) -> None:
        row.latency_ms = timings[TUNED].median_ms
        row.absent = absent
        benchmarks.replace(db, job.id, [_row(job.id, stored.id, timing, result) for timing in result.timings])
        events.emit(db, "benchmark", {name: timing.median_ms for name, timing in timings.items()}, job.id)

    with publish.packed(settings, job.id, folder / winner, sealed) as made:
        publish.publish(engine, job.id, made, keep_figures)


def _spec(
    job: Job, model: Model, fetched: Fetched, manifests: Mapping[str, dict[str, Any]], folder: Path, canary: str | None
) -> Spec:
    return Spec(
        source=fetched.source,
        folder=fetched.folder,
        batch=job.batch,
        seq_len=job.seq_len,
        lengths=job.lengths or [],
        threads=manifests[TUNED]["threads"],
        rounds=rounds_of(job),
        per_round=1 if job.lengths else _PER_ROUND,
        max_sec=_most_sec(job),
        may_settle=job.rounds is None,
        canary=canary,
        apart=bool(job.against),
        variants=[
            *(one.model_copy(update={"optional": bool(job.against)}) for one in baselines(model)),
            *(
                Variant(name=name, kind="tvm", path=str(folder / name), precision=one.get("precision", FULL))
                for name, one in manifests.items()
            ),
        ],
    )


def _most_sec(job: Job) -> float:
    """Of timing, as long in proportion where more rounds were asked for."""
    usual = _TEXTS_MAX_SEC if job.lengths else _MAX_SEC
    return usual * max(1.0, rounds_of(job) / ROUNDS)


def _figures(timing: Timing) -> dict[str, Any]:
    return timing.model_dump(exclude={"variant"}, exclude_none=True)


def _row(job_id: str, artifact_id: str, timing: Timing, result: Result) -> Benchmark:
    return Benchmark(
        job_id=job_id,
        artifact_id=artifact_id,
        threads=result.threads,
        machine=result.machine,
        max_abs_error=result.max_abs_errors.get(timing.variant),
        **timing.model_dump(),
    )
