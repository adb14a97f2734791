"""CPUs that tests name, whichever one they run on: kernels are scheduled and compiled for them, and never run.

They differ in what a search looks at: lanes of a vector (8, 16, 4), vector registers (16, 32, 32).
"""

from __future__ import annotations

from typing import Any

import pytest

TRIPLES = {"x86-64-v3": "x86_64-linux-gnu", "x86-64-v4": "x86_64-linux-gnu", "apple-m1": "arm64-apple-macos"}


def target(mcpu: str) -> dict[str, Any]:
    """The TVM target of two cores of it, as jobs have it."""
    return {"kind": "llvm", "mtriple": TRIPLES[mcpu], "mcpu": mcpu, "num-cores": 2}


each = pytest.mark.parametrize("cpu", [pytest.param(target(mcpu), id=mcpu) for mcpu in TRIPLES])
