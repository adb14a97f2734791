"""Dask loads this module in each worker of the service's own engine before it takes tasks."""

from __future__ import annotations

from typing import Any

from rpc.drafts import have_own_tempdir
from rpc.expendable import go_first
from rpc.lifeline import die_with_parent
from rpc.logfile import start_logging
from tuner.config import Settings


def dask_setup(worker: Any) -> None:
    """Tie the worker to the engine process, which shall outlive it; have its stages log, and a successor tidy up."""
    die_with_parent()
    go_first()
    have_own_tempdir()
    start_logging(Settings().log_level)
