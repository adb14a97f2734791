"""Trivial stages that a real engine worker runs in tests; they leave what they did in the data directory."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tuner.config import Settings
from tuner.errors import ModelInvalid


def note(settings: Settings, job_id: str) -> None:
    """Write this worker's pid to the file named after the job."""
    _write(settings.root / job_id)


def hang(settings: Settings, job_id: str) -> None:
    """Write this worker's pid, then run until killed."""
    _write(settings.root / job_id)
    while True:
        time.sleep(0.1)


def refuse(settings: Settings, job_id: str) -> None:
    """Raise an error for a person."""
    raise ModelInvalid(f"The model of {job_id} has no config.", "Point at a folder that has one.")


def crash(settings: Settings, job_id: str) -> None:
    """Raise what nobody foresaw."""
    raise ZeroDivisionError(f"one over nothing, for {job_id}")


def _write(path: Path) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(str(os.getpid()))
    partial.rename(path)
