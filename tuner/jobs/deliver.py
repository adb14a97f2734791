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
from tuner.bench.launch import run_benchmark
from tuner.bench.remote import run_remote_benchmark
from tuner.bench.spec import Result, Spec, Timing, Variant
from tuner.compiler.module import base_manifest, read_manifest, seal, write_manifest
from tuner.config import Settings
from tuner.db import benchmarks, events
from tuner.db.models import Artifact, Benchmark, Job, JobWorkload, Model, Record, Workload
from tuner.importers import cache
from tuner.importers.cache import Imported
from tuner.importers.operators.files import is_own
from tuner.importers.snapshot import Fetched
from tuner.jobs import publish
from tuner.jobs.making import Module, holds_foreign, is_foreign, most_bytes, verification
from tuner.jobs.provenance import keep_records
from tuner.jobs.workbench import fetched_of
from tuner.kernels.left_out import in_words
from tuner.kernels.precision import FULL
from tuner.measuring.measure import DeviceAddress
from tuner.measuring.remote import RemoteModule, session
from tuner.search.finals import Final
from tuner.targets.roofline import Peak

TUNED, UNTUNED = "tuned", "untuned"
_ROUNDS, _PER_ROUND = 10, 5
_QUIET_SEC = 600.0  # a person's build is waited for so long
_MAX_SEC, _TEXTS_MAX_SEC = 120.0, 45.0  # of timing; a run of a large model takes seconds, one of texts is of many


def staging(settings: Settings, job_id: str) -> Path:
    """Where a job's modules lie until they are published; it is removed when the job ends."""
    return settings.jobs_dir / job_id / "staging"


def is_staged(settings: Settings, job: Job, verified: bool = False) -> bool:
    """Are the job's modules here, or, with ``verified``, also seen to be right?"""
    folders = [staging(settings, job.id) / name for name in ((TUNED,) if job.compile_only else (UNTUNED, TUNED))]
    found = [read_manifest(folder) for folder in folders if (folder / "manifest.json").is_file()]
    return len(found) == len(folders) and all(not verified or "verification" in manifest for manifest in found)


def compile_job(
    settings: Settings,
    job: Job,
    imported: Imported,
    rows: list[tuple[JobWorkload, Workload]],
    decided: Mapping[str, Final],
    canary_us: float | None,
    given_up: Mapping[str, str],
) -> None:
    """Compile the winners, and beside them the plain schedules as the untuned module.

    ``decided`` is the outcome of each workload's finals; one without a winner gets the plain schedule. ``canary_us`` is
    what the reference kernel took meanwhile, ``given_up`` why workloads, by id, were not tuned to their end.
    """
    winners: dict[str, tuple[str, list[float]]] = {}
    kept: dict[str, Record] = {}
    ready_made: dict[str, str] = {}
    left_out = []
    for _, workload in rows:
        final = decided[workload.id]
        left_out += [in_words(record.candidate, workload.name, reason) for record, reason in final.left_out]
        if final.winner is None or not final.winner.trace:
            continue
        winners[workload.tir] = (final.winner.trace, final.winner.run_secs)
        if final.winner.record is not None:
            kept[workload.id] = final.winner.record
        else:
            ready_made[workload.id] = final.winner.ready_made
    for name, chosen, used in ((UNTUNED, {}, {}), (TUNED, winners, kept)):
        folder = staging(settings, job.id) / name
        precision = job.precision if name == TUNED else FULL
        module = Module(settings.imports_dir, imported, folder, holds_foreign(imported, used), precision)
        compiled = module.compile(job.target_json, chosen)
        about = base_manifest(imported, job.batch, job.seq_len, job.target_json, compiled)
        write_manifest(folder, about | {"precision": precision})
    folder = staging(settings, job.id) / TUNED
    kernels = [(link.weight, workload) for link, workload in rows]
    found = keep_records(folder, kernels, kept, ready_made, left_out)
    found |= {"predicted_ms": job.predicted_ms, "canary": {"kernels_us": canary_us}}
    if given_up:
        names = {workload.id: workload.name for _, workload in rows}
        found["given_up"] = [f"{names[workload_id]}: {why}" for workload_id, why in given_up.items()]
    write_manifest(folder, read_manifest(folder) | found)


def verify_job(settings: Settings, job: Job, imported: Imported, device: DeviceAddress | None) -> None:
    """Run the staged modules on the import's samples, on ``device`` or (None) here.

    Raises VerificationFailed when an output is out of tolerance.
    """
    for name in (UNTUNED, TUNED):
        folder, what = staging(settings, job.id) / name, f"{name} module of {job.id}"
        manifest = read_manifest(folder)
        module = Module(
            settings.imports_dir, imported, folder, is_foreign(imported, manifest), manifest.get("precision", FULL)
        )
        if device is None:
            found = module.verify(what)
        else:
            with session(device) as remote:
                found = verification(RemoteModule(remote, folder).run, module, what)
        manifest |= {"verification": found} | load_check(DEVICE, job.target_json)
        write_manifest(folder, manifest)


@dataclass(frozen=True)
class Terms:
    """How a benchmark is held: on a device or (None) here, against the target's peak, with this canary's library."""

    device: DeviceAddress | None
    peak: Peak | None
    canary: str | None


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
    manifest = read_manifest(folder / TUNED)
    if terms.device is None:
        spec = _spec(job, model, fetched_of(settings, job), manifest, folder, terms.canary)
        if is_own(imported.location):
            spec.memory_bytes = most_bytes(settings.imports_dir, imported)
        with measuring(settings.quiet_lock, _QUIET_SEC):
            result = run_benchmark(spec, folder / "benchmark", progress)
        facts = device_facts()
    else:
        inputs = cache.load_samples(settings.imports_dir, imported)[0].inputs
        folders = {name: folder / name for name in (UNTUNED, TUNED)}
        result, facts = run_remote_benchmark(
            terms.device, folders, inputs, _ROUNDS, _PER_ROUND, _MAX_SEC, terms.canary, progress
        )
    timings = {timing.variant: timing for timing in result.timings}
    manifest |= arithmetic(model, timings, terms.peak)
    manifest |= {
        "device": facts,
        "canary": manifest["canary"] | {"model_us": result.canary_us},
        "latency": _figures(timings[TUNED]),
        "baselines": {name: _figures(timing) for name, timing in timings.items() if name != TUNED},
    }
    sealed = seal(folder / TUNED, manifest)

    def keep_figures(db: Session, row: Job, stored: Artifact) -> None:
        row.latency_ms = timings[TUNED].median_ms
        benchmarks.replace(db, job.id, [_row(job.id, stored.id, timing, result) for timing in result.timings])
        events.emit(db, "benchmark", {name: timing.median_ms for name, timing in timings.items()}, job.id)

    with publish.packed(settings, job.id, folder / TUNED, sealed) as made:
        publish.publish(engine, job.id, made, keep_figures)


def _spec(job: Job, model: Model, fetched: Fetched, manifest: dict[str, Any], folder: Path, canary: str | None) -> Spec:
    return Spec(
        source=fetched.source,
        folder=fetched.folder,
        batch=job.batch,
        seq_len=job.seq_len,
        lengths=job.lengths or [],
        threads=manifest["threads"],
        rounds=_ROUNDS,
        per_round=1 if job.lengths else _PER_ROUND,
        max_sec=_TEXTS_MAX_SEC if job.lengths else _MAX_SEC,
        canary=canary,
        variants=[
            *baselines(model),
            Variant(name=UNTUNED, kind="tvm", path=str(folder / UNTUNED)),
            Variant(name=TUNED, kind="tvm", path=str(folder / TUNED), precision=manifest.get("precision", FULL)),
        ],
    )


def _figures(timing: Timing) -> dict[str, Any]:
    return timing.model_dump(exclude={"variant"})


def _row(job_id: str, artifact_id: str, timing: Timing, result: Result) -> Benchmark:
    return Benchmark(
        job_id=job_id, artifact_id=artifact_id, threads=result.threads, machine=result.machine, **timing.model_dump()
    )
