"""From a request to a job row: everything that can be refused at once is refused here, with its reason."""

from __future__ import annotations

import math
from dataclasses import asdict

from sqlalchemy import Engine
from sqlmodel import Session

from tuner.config import Settings
from tuner.db import events, models_, uploads
from tuner.db.engine import read
from tuner.db.models import Job, JudgedTexts, Model
from tuner.errors import BudgetInvalid, InvalidInput, PrecisionUnavailable
from tuner.importers.memory import check_source
from tuner.importers.source import ModelSource, resolve_source
from tuner.jobs.against import check_rivals
from tuner.jobs.shape import fixed, job_shape
from tuner.jobs.target_lookup import resolve_target
from tuner.jobs.terms import check_terms
from tuner.schemas import BudgetIn, JobIn
from tuner.targets.presets import Target
from tuner.uploads.desk import Desk, model_of
from tuner.uploads.names import PREFIX, is_upload

# Preset: largest number of trials, minutes.
PRESETS: dict[str, tuple[int, float]] = {"express": (1000, 10.0), "full": (5000, 60.0)}


def source_of(settings: Settings, engine: Engine, wish: JobIn) -> ModelSource:
    """What a job's model is, by name or by the id of one that is known, and that there is memory for its shape.

    It looks at files of the user's, which may take long: never call it within ``write``. Raises ModelUnknown,
    ModelInvalid, SequenceTooLong or MemoryShort, and InvalidInput for a rival that there is not.
    """
    check_rivals(settings, engine, wish)
    source = _source_of(settings, engine, wish)
    if wish.against and source.source == "operator":
        raise InvalidInput("An operator is timed beside PyTorch alone.", "Leave out against.")
    if wish.lengths is None and wish.text_lengths is None and _knows_memory(settings):
        shape = fixed(source, wish.batch, wish.seq_len)
        check_source(source, shape.batch, shape.seq_len, settings.import_memory_bytes)
    return source


def _knows_memory(settings: Settings) -> bool:
    """An engine elsewhere has a memory of its own, of which only the setting tells here."""
    return settings.engine is None or settings.import_memory_bytes is not None


def named(settings: Settings, engine: Engine, name: str, allow_pickle: bool, head: str | None) -> ModelSource:
    """What a model's name means: an upload, or what ``resolve_source`` finds; never call it within ``write``."""
    if is_upload(name):
        return Desk(settings, engine).source(name, allow_pickle, head)
    return resolve_source(name, allow_pickle, head)


def _source_of(settings: Settings, engine: Engine, wish: JobIn) -> ModelSource:
    with read(engine) as session:
        known = session.get(Model, wish.model)
    if known is None:
        return named(settings, engine, wish.model, wish.allow_pickle, wish.head)
    allow_pickle, head = wish.allow_pickle or known.allow_pickle, wish.head or known.head or None
    return named(settings, engine, known.name, allow_pickle, head)


def submit(session: Session, settings: Settings, wish: JobIn, source: ModelSource) -> Job:
    """Check the request and add its job, with its model if that is new; ``source`` is what ``source_of`` found. Call
    within ``write``.

    Raises TargetUnknown, BudgetInvalid, SequenceTooLong, InvalidInput, or NotFound for an upload that was deleted.
    """
    trials, seconds = no_budget(wish.budget) if wish.compile_only else budget(wish.budget, settings)
    target = resolve_target(session, settings, wish.target)
    check_precision(wish.precision, source, target)
    check_gate(wish)
    check_terms(wish)
    model = add_model(session, source)
    if is_upload(source.name):
        _use_upload(session, source.name)
    shape = job_shape(wish, model, target)
    job = Job(
        model_id=model.id,
        source_json=asdict(source),
        snapshot=None if source.has_files else "",
        target=target.name,
        target_json=target.tvm if target.family else {},
        target_family=target.family,
        batch=shape.batch,
        seq_len=shape.seq_len,
        lengths=shape.lengths,
        shape_is_open=shape.is_open,
        precision=wish.precision,
        max_drop=wish.max_drop,
        against=[_use_upload(session, one) if is_upload(one) else one for one in wish.against],
        budget_trials=trials,
        budget_sec=seconds,
        only=wish.only,
        skip=wish.skip,
        repeat=wish.repeat,
        min_repeat_ms=wish.min_repeat_ms,
        rounds=wish.rounds,
        strategy=wish.strategy,
        timeout_sec=wish.timeout_sec,
        cold=wish.cold,
        compile_only=wish.compile_only,
        priority=wish.priority,
        weights=model.weights,
        message="waiting for its turn",
    )
    session.add(job)
    session.flush()
    if wish.judged_on:
        session.add(JudgedTexts(job_id=job.id, texts=wish.judged_on))
    events.emit(session, "state", {"state": job.state, "message": job.message}, job.id)
    if shape.note:
        events.emit(session, "message", {"message": shape.note}, job.id)
    return job


def _use_upload(session: Session, model: str) -> str:
    """Note that an upload is used; what all jobs call it, be it given by its id."""
    upload = uploads.get(session, model.removeprefix(PREFIX))
    uploads.touch(session, upload)
    return model_of(upload)


def check_precision(precision: str, source: ModelSource, target: Target) -> None:
    """Raise PrecisionUnavailable where no processor has it; what this one has only the engine knows."""
    if precision == "fp32":
        return
    kind = target.tvm.get("kind", "llvm")
    if kind != "llvm" and not (kind == "metal" and precision in ("fp16", "fastest")):
        also = " Apple's GPUs compute in fp32 and fp16." if kind == "metal" else ""
        raise PrecisionUnavailable(f"{precision} is for CPUs; {target.name} is none.{also}", "Leave out --precision.")
    if source.source == "operator":
        raise PrecisionUnavailable("An operator is computed as it is written.", "Leave out --precision.")


def check_gate(wish: JobIn) -> None:
    """Raise InvalidInput for a loss that nobody asks for, or that nobody would see."""
    if wish.precision == "fp32" and (wish.max_drop is not None or wish.judged_on):
        raise InvalidInput("float32 loses nothing.", "Leave out max_drop and judged_on, or give a lower precision.")
    if wish.precision == "fastest" and wish.compile_only:
        raise InvalidInput(
            "Which precision is the fastest is measured, and a job that only compiles measures nothing.",
            "Name a precision, or tune.",
        )


def add_model(session: Session, source: ModelSource) -> Model:
    """Add a model, or bring what is known of it up to date. Call within ``write``."""
    return models_.put(
        session,
        source.name,
        source.head,
        source=source.source,
        location=source.location,
        family=source.family,
        max_seq_len=source.max_seq_len,
        weights=source.weights,
        allow_pickle=source.allow_pickle,
    )


def no_budget(wish: BudgetIn) -> tuple[int, None]:
    """The budget of a job that only compiles: no trials. Raises BudgetInvalid when one is given."""
    if wish != BudgetIn():
        raise BudgetInvalid("A job that only compiles does not tune.", "Leave out the budget, or tune instead.")
    return 0, None


def presets(settings: Settings) -> dict[str, tuple[int, float]]:
    """Trials and minutes of each preset: no more than the settings allow."""
    most_trials, most_minutes = settings.max_trials, settings.max_minutes
    return {name: (min(trials, most_trials), min(minutes, most_minutes)) for name, (trials, minutes) in PRESETS.items()}


def budget(wish: BudgetIn, settings: Settings) -> tuple[int, float | None]:
    """Trials, and seconds or None for no limit; numbers given replace the preset's. Raises BudgetInvalid."""
    if wish.preset is None and wish.trials is None and wish.minutes is None:
        wish = BudgetIn(preset="express")
    trials, minutes = presets(settings)[wish.preset] if wish.preset else (settings.max_trials, None)
    trials = trials if wish.trials is None else wish.trials
    minutes = minutes if wish.minutes is None else wish.minutes
    if not 1 <= trials <= settings.max_trials:
        raise BudgetInvalid(
            f"A budget of {trials} trials is out of range.", f"Use 1 to {settings.max_trials} trials (--trials)."
        )
    if minutes is None:
        return trials, None
    if math.isnan(minutes) or not 0 < minutes <= settings.max_minutes:
        raise BudgetInvalid(
            f"A budget of {minutes} minutes is out of range.",
            f"Use more than 0 and at most {settings.max_minutes:g} minutes (--minutes).",
        )
    return trials, minutes * 60.0
