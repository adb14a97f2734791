"""What LLVM calls CPUs and their features, as data: the web process checks a target without TVM."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any


def cpus(architecture: str) -> list[str]:
    """CPUs of an architecture that LLVM knows; empty for one that nobody tunes for."""
    return _names().get(architecture, {}).get("cpus", [])


def features(architecture: str) -> list[str]:
    """What ``mattr`` may add or take away there."""
    return _names().get(architecture, {}).get("features", [])


@cache
def _names() -> dict[str, Any]:
    """Written by tools/llvm_names.py."""
    names: dict[str, Any] = json.loads(resources.files("tuner.data").joinpath("llvm_names.json").read_text())
    return names
