"""Dask loads this module in each worker of the service's own engine before it takes tasks."""

from __future__ import annotations

import logging
from typing import Any

from rpc.lifeline import die_with_parent
from tuner.config import Settings


def dask_setup(worker: Any) -> None:
    """Tie the worker to the engine process; let its stages log."""
    die_with_parent()
    logging.basicConfig(level=Settings().log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
