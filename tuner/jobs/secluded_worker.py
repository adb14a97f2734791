"""What the process of a secluded stage does. ``seclusion`` starts it."""

from __future__ import annotations

import functools
import logging
from typing import Any

from rpc.lean import prepare_lean_import
from rpc.logfile import start_logging
from tuner.apart import told
from tuner.config import Settings

log = logging.getLogger(__name__)


def prepare() -> None:
    """Load TVM, without PyTorch."""
    prepare_lean_import()
    import tuner.jobs.stages  # noqa: F401


def answer(question: tuple[str, Settings, dict[str, Any]]) -> dict[str, Any]:
    """Run a stage."""
    return told(functools.partial(_run, *question))


def _run(stage: str, settings: Settings, arguments: dict[str, Any]) -> None:
    from tuner.db.engine import storage
    from tuner.errors import TunerError
    from tuner.jobs import garbage, stages

    _log_as(settings.model_dump_json())
    log.info("%s of %s", stage, arguments["job_id"])
    try:
        with storage(settings.root):
            getattr(stages, stage).__wrapped__(settings, **arguments)
    except TunerError:
        raise
    except Exception:
        log.exception("%s(%s) failed", stage, arguments)
        raise
    finally:
        garbage.collect()


@functools.cache
def _log_as(settings_json: str) -> None:
    start_logging(Settings.model_validate_json(settings_json).log_level)
