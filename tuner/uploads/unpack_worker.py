"""What the process does that unpacks an archive of others. ``unpack`` starts it, through ``tuner.apart``."""

from __future__ import annotations

from typing import Any

from tuner.apart import told
from tuner.uploads.unpack import Unpack


def prepare() -> None:
    """All is loaded."""


def answer(step: Unpack) -> dict[str, Any]:
    """Unpack it."""
    return told(step.make)
