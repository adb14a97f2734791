"""What the process does that makes a kernel's text: its TIR and schedule may be of others. It is started through
``tuner.apart``."""

from __future__ import annotations

from typing import Any

from rpc.lean import prepare_lean_import
from tuner.apart import told


def prepare() -> None:
    """Load TVM, without PyTorch."""
    prepare_lean_import()
    import tuner.jobs.kernel_text  # noqa: F401


def answer(question: tuple[dict[str, Any], str]) -> dict[str, Any]:
    """A kernel in a form."""
    from tuner.jobs.kernel_text import text_of

    return told(lambda: text_of(*question))
