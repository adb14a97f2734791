"""What the process does that times artifacts in turns: it may die of one. It is started through ``tuner.apart``."""

from __future__ import annotations

from typing import Any

from rpc.lean import without_torch
from tuner.apart import told


def prepare() -> None:
    """Load TVM, and PyTorch only where texts want it: TVM would, to read its own symbols beside it."""
    with without_torch():
        import tvm  # noqa: F401


def answer(question: tuple[dict[str, str], int]) -> dict[str, Any]:
    """A ``Result`` of artifacts by name and path, in so many rounds."""
    from tuner.bench.in_turns import timed

    return told(lambda: timed(*question).model_dump())
