"""The pages. They only read; whatever changes something goes from the browser through the REST API."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI, Request, Response

from api.dashboard import data, sign_in, verdict, words
from api.dashboard.charts.bars import bars_in_words, benchmark_bars
from api.dashboard.charts.curve import curve_in_words, latency_curve
from api.dashboard.charts.flow import picture
from api.dashboard.charts.history import history_chart, history_in_words
from api.dashboard.charts.roofline import roofline, roofline_in_words
from api.dashboard.recipe import how_to_run
from api.dashboard.rendering import STATIC, FreshStatic, PageRoute, compile_templates, page
from api.deps import EngineDep, Offset, SettingsDep
from tuner.artifact.bundle import refusal
from tuner.bench import against
from tuner.db import clock, devices, events, uploads
from tuner.db.engine import read
from tuner.errors import InvalidInput
from tuner.importers.presets import PRESETS
from tuner.jobs.history import history_of
from tuner.jobs.submit import presets
from tuner.jobs.target_lookup import target_outs
from tuner.jobs.view import device_out
from tuner.state import ACTIVE
from tuner.uploads import names

_MOST_RESULTS = 100  # of a model's history
DEVICE_TONES = {"online": "good", "busy": "busy", "offline": "idle", "quarantined": "bad", "incompatible": "bad"}

router = APIRouter(route_class=PageRoute, include_in_schema=False)


def mount(app: FastAPI) -> None:
    """Add the dashboard to the app, whose state holds ``settings`` and ``engine``."""
    compile_templates()
    app.mount("/static", FreshStatic(directory=STATIC), name="static")
    app.include_router(router)
    app.include_router(sign_in.router)


@router.get("/")
def jobs_page(
    request: Request,
    settings: SettingsDep,
    engine: EngineDep,
    state: str = "all",
    offset: Offset = 0,
) -> Response:
    """All jobs, or those of one filter, and the form that submits one."""
    if state not in words.FILTERS:
        raise InvalidInput(f"There is no filter {state!r}.", f"Use one of: {', '.join(words.FILTERS)}.")
    with read(engine) as session:
        position, now = events.last_id(session), clock.now(session)
        found = data.jobs_page(session, state, offset)
        counts = data.filter_counts(session)
        targets = target_outs(session, settings)
        uploaded = [names.PREFIX + name for name in uploads.complete_names(session)]
    return page(
        request,
        "jobs.html",
        section="jobs",
        events="/v1/events",
        position=position,
        here=f"/?state={state}&offset={offset}",
        filter=state,
        jobs=found,
        counts=counts,
        presets=list(PRESETS),
        uploaded=uploaded,
        rivals=against.KNOWN,
        upload_kinds=(*names.WEIGHTS, *names.TEXTS),
        archive_kinds=names.ARCHIVES,
        budgets=presets(settings),
        targets=targets,
        now=now,
    )


@router.get("/jobs/{job_id}")
def job_page(request: Request, settings: SettingsDep, engine: EngineDep, job_id: str) -> Response:
    """One job, live while it runs."""
    with read(engine) as session:
        position, now = events.last_id(session), clock.now(session)
        found = data.job_page(session, settings, job_id)
    job, bars, dots = found.job, found.bars, found.dots
    manifest = found.evidence
    return page(
        request,
        "job.html",
        section="jobs",
        events=f"/v1/events?job_id={job.id}" if job.state in ACTIVE else "",
        position=position,
        job=job,
        steps=words.steps(job.state, found.last_stage, job.compile_only),
        headline=verdict.headline(job, found.benchmarks, manifest),
        evidence=verdict.evidence(manifest, found.benchmarks, found.drift),
        curve=latency_curve(found.curve, job.baseline_ms, job.latency_ms) if found.curve else None,
        curve_words=curve_in_words(found.curve),
        bars=benchmark_bars(bars) if bars else None,
        bars_words=bars_in_words(bars),
        contestants=sorted(found.benchmarks, key=lambda one: one.median_ms),
        has_costs=any(one.load_ms is not None for one in found.benchmarks),
        roofline=roofline(dots, found.peak) if found.peak and dots else None,
        roofline_words=roofline_in_words(dots, found.peak) if found.peak and dots else "",
        workloads=found.workloads,
        flow=picture(manifest.get("flow") or [], found.workloads),
        on_cpu=(manifest.get("target") or {}).get("kind", "llvm") == "llvm",
        failures=found.failures,
        artifact=found.artifact,
        how_to_run=how_to_run(job, found.artifact) if found.artifact else "",
        has_bundle=found.artifact is not None and not refusal(found.artifact.manifest),
        log=found.log,
        now=now,
    )


@router.get("/history")
def history_page(request: Request, engine: EngineDep, model: str, target: str | None = None) -> Response:
    """How fast a model became, job after job."""
    with read(engine) as session:
        now, found = clock.now(session), history_of(session, model, target, _MOST_RESULTS)
    return page(
        request,
        "history.html",
        section="jobs",
        model=model,
        points=found,
        chart=history_chart(found),
        chart_words=history_in_words(found),
        now=now,
    )


@router.get("/artifacts")
def artifacts_page(request: Request, engine: EngineDep, offset: Offset = 0) -> Response:
    """All artifacts: what they are for, how much of them was tuned, how far they were tested."""
    with read(engine) as session:
        position, now = events.last_id(session), clock.now(session)
        found = data.artifacts_page(session, offset)
    return page(
        request,
        "artifacts.html",
        section="artifacts",
        events="/v1/events",
        position=position,
        here=f"/artifacts?offset={offset}",
        artifacts=found,
        now=now,
    )


@router.get("/devices")
def devices_page(request: Request, engine: EngineDep) -> Response:
    """The devices as last seen."""
    with read(engine) as session:
        position, now = events.last_id(session), clock.now(session)
        found = [device_out(device) for device in devices.find(session)]
    return page(
        request,
        "devices.html",
        section="devices",
        events="/v1/events",
        position=position,
        devices=found,
        device_tones=DEVICE_TONES,
        now=now,
    )
