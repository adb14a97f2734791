"""What the process does that makes or runs a foreign module. ``making`` starts it, through ``tuner.apart``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rpc.lean import prepare_lean_import
from tuner.apart import told

if TYPE_CHECKING:
    from tuner.jobs.making import Compile, Verify


def prepare() -> None:
    """Load TVM, without PyTorch."""
    prepare_lean_import()
    import tuner.jobs.making  # noqa: F401


def answer(step: Compile | Verify) -> dict[str, Any]:
    """Make it."""
    return told(step.make)
