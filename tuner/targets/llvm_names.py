"""What LLVM calls CPUs and their features, as data: the web process checks a target without TVM."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

# Written by tools/llvm_names.py; read at once, as it is asked within transactions.
_NAMES: dict[str, Any] = json.loads(resources.files("tuner.data").joinpath("llvm_names.json").read_text())


def cpus(architecture: str) -> list[str]:
    """CPUs of an architecture that LLVM knows; empty for one that nobody tunes for."""
    return _NAMES.get(architecture, {}).get("cpus", [])


def features(architecture: str) -> list[str]:
    """What ``mattr`` may add or take away there."""
    return _NAMES.get(architecture, {}).get("features", [])
