"""The service's own engine as a process, and the settings by which it is reached."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from rpc.lifeline import python_module
from tests.support.processes import patience, running, wait_until
from tuner.config import Settings
from tuner.errors import EngineUnavailable
from tuner.jobs.engine import CALL_TIMEOUT_SEC, DaskEngine
from tuner.jobs.engine_tls import make_certificate
from tuner.ownership import claim


def patient(address: str, settings: Settings, stages: str, lasts: bool = False) -> DaskEngine:
    """A client of an engine that may be as slow as a busy machine makes it.

    ``lasts``: nobody ends the engine. One that somebody ends is waited for in vain for as long as a question may take.
    """
    return DaskEngine(address, settings, stages, patience(20) if lasts else 2 * CALL_TIMEOUT_SEC)


def until_answered(ask: Callable[[], object]) -> None:
    """Ask an engine something until it answers, however slow it is."""

    def is_answered() -> bool:
        try:
            ask()
        except EngineUnavailable:
            return False
        return True

    wait_until(is_answered, 20, "the engine's answer")


def engine_settings(data_dir: Path, **others: Any) -> Settings:
    """Settings over a data directory with a certificate for its engine."""
    settings = Settings(data_dir=data_dir, **others)
    claim(settings)
    if not settings.own_engine_pem.exists():
        make_certificate(settings.own_engine_pem)
    pem = settings.own_engine_pem
    return settings.model_copy(update={"engine_ca": pem, "engine_cert": pem})


def engine_process(settings: Settings, port: int = 0, **env: str) -> AbstractContextManager[subprocess.Popen[str]]:
    """An engine with these settings, which it prints the address of."""
    return running(python_module("tuner.jobs.engine_process", "--port", str(port)), **settings.as_env(), **env)


def address_of(process: subprocess.Popen[str]) -> str:
    """Wait for the address that an engine prints."""
    assert process.stdout is not None
    return next(line.strip() for line in process.stdout if line.startswith("tls://"))
