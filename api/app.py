"""The web process: REST under /v1, health at the root, the dashboard."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib import metadata
from typing import Any

from anyio.to_thread import current_default_thread_limiter
from fastapi import APIRouter, FastAPI

from api import errors, lookups, scopes
from api.auth import AskForToken, Doorkeeper
from api.body_limit import LimitBodies, limit_of
from api.cross_site import RefuseCrossSite
from api.dashboard import pages as dashboard
from api.hosts import RefuseOtherHosts
from api.patience import LimitPatience
from api.routes import (
    agent,
    artifacts,
    benchmarks,
    compare,
    devices,
    events,
    health,
    history,
    jobs,
    models,
    operators,
    records,
    targets,
    tokens,
    uploads,
)
from api.turns import Turns
from rpc.gaps import Gaps
from tuner.config import Settings
from tuner.db.engine import make_engine
from tuner.db.migrate import create_or_check
from tuner.tokens import check_doors

_V1 = (
    models,
    operators,
    targets,
    jobs,
    records,
    artifacts,
    benchmarks,
    history,
    compare,
    devices,
    events,
    tokens,
    uploads,
)

THREADS = 24  # that answer requests; each has a connection to the database when it wants one


class _App(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The document, with what each route needs."""
        document = super().openapi()
        scopes.describe(document)
        return document


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application; settings default to the environment's. Raises SchemaOutdated, SchemaUnknown or InvalidInput."""
    settings = settings or Settings()
    check_doors(settings)
    create_or_check(settings)
    app = _App(
        title="TuneSmith",
        version=metadata.version("tunesmith"),
        summary="Submit a transformer, get back a compiled, verified module that is faster, and the proof.",
        responses=errors.RESPONSES,
        lifespan=_lifespan,
        docs_url=None,  # both pages load their scripts from elsewhere
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.engine = make_engine(settings, connections=THREADS)
    app.state.uploads = Turns("uploads", at_once=4)
    app.state.parts = Turns("parts of uploads", at_once=8)
    app.state.completions = Turns("uploads that are checked", at_once=1)
    app.state.imports = Turns("imports", at_once=1)  # they write, and one writes at a time
    app.state.wheels = Turns("wheels", at_once=1)
    app.state.agent_wheel = None  # until somebody asks for it
    app.state.heavy = Turns("large reads", at_once=1)
    app.state.gaps = Gaps(settings.quiet_lock)
    app.state.doorkeeper = Doorkeeper(settings, app.state.engine)
    errors.install(app)
    lookups.install(app)
    events.install(app)
    app.add_middleware(LimitPatience)
    app.add_middleware(LimitBodies, limit_of=partial(limit_of, settings))
    app.add_middleware(AskForToken, doorkeeper=app.state.doorkeeper)
    app.add_middleware(RefuseCrossSite)
    app.add_middleware(RefuseOtherHosts, settings=settings)
    v1 = APIRouter(prefix="/v1")
    for module in _V1:
        v1.include_router(module.router)
    app.include_router(v1)
    app.include_router(health.router)
    app.include_router(agent.router)
    dashboard.mount(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    current_default_thread_limiter().total_tokens = THREADS
    yield
    await app.state.event_hub.close()
    app.state.engine.dispose()
