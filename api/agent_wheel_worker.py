"""What the process does that makes the agent's wheel. ``agent_wheel`` starts it, through ``tuner.apart``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from api.agent_wheel import make
from tuner.apart import told


def prepare() -> None:
    """All is loaded."""


def answer(folder: Path) -> dict[str, Any]:
    """Make it."""
    return told(lambda: make(folder))
