"""What stages work with: the worker's database, tuner and build pool, kept warm, and a job's import and device."""

from __future__ import annotations

import functools

from sqlalchemy import Engine

from tuner.config import Settings
from tuner.db import events, jobs
from tuner.db.engine import make_engine, read, write
from tuner.db.models import Job
from tuner.errors import ModelUnreachable
from tuner.importers import cache
from tuner.importers.cache import Imported, Shape
from tuner.importers.sentences import Gate
from tuner.importers.snapshot import Fetched
from tuner.importers.source import ModelSource
from tuner.jobs import job_folders
from tuner.jobs.target_lookup import peak_for
from tuner.lengths import weights_of
from tuner.measuring.identity import Expected, expected_of
from tuner.measuring.measure import DeviceAddress
from tuner.measuring.repeats import Repeats
from tuner.search.finals import Finals
from tuner.search.remembered import Remembered
from tuner.search.round import Tuner
from tuner.targets import presets
from tuner.targets.blas import name_of
from tuner.targets.roofline import Peak


@functools.cache
def _make_engine(settings_json: str) -> Engine:
    return make_engine(Settings.model_validate_json(settings_json))


def database(settings: Settings) -> Engine:
    """The database, of one pool of connections for the life of the worker."""
    return _make_engine(settings.model_dump_json())


@functools.cache
def _make_tuner(settings_json: str) -> Tuner:
    settings = Settings.model_validate_json(settings_json)
    return Tuner(settings, database(settings), functools.partial(device_address, settings))


def tuner_of(settings: Settings) -> Tuner:
    """The worker's tuner, whose searches and build processes stay warm."""
    return _make_tuner(settings.model_dump_json())


def device_address(settings: Settings, job: Job) -> DeviceAddress:
    """Where the device of a job's target is had. A remote one may have to end another round's session first."""
    assert settings.tracker_port is not None
    key = presets.device_key_of(job.target, settings.device_key)
    queue_sec = 0.0 if key == settings.device_key else settings.session_timeout_sec
    kind = job.target_json.get("kind", "llvm")
    return DeviceAddress(
        settings.tracker_host,
        settings.tracker_port,
        key,
        settings.lease_timeout_sec + queue_sec,
        settings.session_timeout_sec,
        "cpu" if kind == "llvm" else kind,
        _expected(settings, job, key),
        settings.quiet_lock if key == settings.device_key else None,
        name_of(job.target_json),
    )


def _expected(settings: Settings, job: Job, key: str) -> Expected | None:
    """Records are of the CPU that a named target means; who writes a target as JSON says for himself what it is for."""
    if presets.is_json(job.target):
        return None
    return expected_of(job.target_json, exact=key == settings.device_key)


def remote_device(settings: Settings, job: Job) -> DeviceAddress | None:
    """The job's device, or None when it is this machine."""
    device = device_address(settings, job)
    return None if device.key == settings.device_key else device


def job_of(settings: Settings, job_id: str) -> Job:
    """The job as it is now."""
    with read(database(settings)) as db:
        return jobs.get(db, job_id)


def fetched_of(settings: Settings, job: Job) -> Fetched:
    """The job's model and its files, as they were found. Raises ModelUnreachable when somebody removed them."""
    source = ModelSource(**job.source_json)
    folder = settings.sources_dir / job.snapshot if job.snapshot else None
    if folder is not None and not folder.is_dir():
        raise ModelUnreachable(f"The files of {source.name} are gone: {folder}.", "Submit the job again.")
    return Fetched(source, folder)


def imported_of(settings: Settings, job: Job) -> Imported:
    """The job's import: the one that it made or found, or, where that is gone from the cache, made once more."""
    if known := cache.find(settings.imports_dir, job.import_key):
        return known
    most = settings.import_memory_bytes
    return cache.import_source(fetched_of(settings, job), shape_of(job), settings.imports_dir, most)


def shape_of(job: Job) -> Shape:
    """What a job's model is imported for."""
    return Shape(job.batch, job.seq_len, bool(job.lengths), job.target_json["kind"])


def gate_of(settings: Settings, job: Job) -> Gate:
    """What the job's module has to pass at a lower precision."""
    with read(database(settings)) as db:
        return Gate(job.max_drop, tuple(jobs.judged_texts(db, job.id)))


def peak_of(settings: Settings, job: Job) -> Peak | None:
    """What the job's target can do at most, as far as it is known."""
    with read(database(settings)) as db:
        return peak_for(db, settings, job)


def finals_of(settings: Settings, job: Job, tuner: Tuner) -> Finals:
    """The finals of a job, on its device."""
    engine, device = database(settings), device_address(settings, job)
    return Finals(
        device,
        tuner.builders,
        job.target_json,
        job_folders.make(settings, engine, job.id) / "finals",
        tuner.canaries.timer(job),
        weights_of(job),
        Remembered(engine, device.key, may_recall=not job.cold),
        Repeats.of(job.repeat, job.min_repeat_ms),
    )


def say(settings: Settings, job_id: str, message: str) -> None:
    """Show what the job is at."""
    with write(database(settings)) as db:
        job = jobs.get(db, job_id)
        if job.message != message:
            job.message = message
            events.emit(db, "message", {"message": message}, job_id)
