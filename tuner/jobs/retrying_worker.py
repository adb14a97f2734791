"""What the process does that tries a candidate once more: it may crash it. It is started through ``tuner.apart``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rpc.lean import prepare_lean_import
from tuner.apart import told


def prepare() -> None:
    """Load TVM, without PyTorch."""
    prepare_lean_import()
    import tuner.jobs.retrying  # noqa: F401


def answer(question: tuple[dict[str, Any], str, float]) -> dict[str, Any]:
    """What becomes of a candidate."""
    from tuner.jobs.retrying import retry

    candidate, folder, build_timeout_sec = question
    return told(lambda: retry(candidate, Path(folder), build_timeout_sec))
