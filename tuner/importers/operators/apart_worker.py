"""What the process of an operator's import does. ``apart`` starts it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rpc.lean import prepare_lean_import
from tuner.apart import told
from tuner.importers.snapshot import Fetched


def prepare() -> None:
    """Load TVM, without PyTorch."""
    prepare_lean_import()
    import tuner.importers.cache  # noqa: F401


def answer(question: tuple[str, Fetched, Path]) -> dict[str, Any]:
    """Import it into the cache."""
    from tuner.importers.cache import import_operator

    return told(lambda: import_operator(*question).key)
