"""What a Mac says of itself: its chip, performance cores, macOS, the GPU and its Metal family."""

from __future__ import annotations

import json
import platform
import re
import subprocess
from typing import Any

from rpc.chips import CHIPS

_TIMEOUT_SEC = 20.0


def performance_cores() -> int | None:
    """Physical performance cores of Apple silicon; None where there is no such distinction."""
    count = sysctl("hw.perflevel0.physicalcpu")
    return int(count) if count.isdigit() else None


def sysctl(name: str) -> str:
    """One value of the kernel's state, empty when it has none of that name."""
    return _output("sysctl", "-n", name)


def os_name() -> str:
    """``macOS 14.5``."""
    return f"macOS {platform.mac_ver()[0]}"


def gpu_facts() -> dict[str, Any]:
    """Name, cores and Metal family of the GPU, as far as ``system_profiler`` knows them."""
    return parse_gpu(_output("system_profiler", "SPDisplaysDataType", "-json"))


def parse_gpu(report: str) -> dict[str, Any]:
    """``{"gpu": "Apple M1", "gpu_cores": 8, "metal": "metal3"}`` from the profiler's JSON; what is missing is left out.

    Since macOS 13 the family is ``spdisplays_metal3``, before it was ``spdisplays_mtlgpufamilyapple7``.
    """
    try:
        gpu = json.loads(report)["SPDisplaysDataType"][0]
    except (ValueError, LookupError, TypeError):
        return {}
    facts: dict[str, Any] = {}
    if model := gpu.get("sppci_model") or gpu.get("_name"):
        facts["gpu"] = str(model)
    if str(gpu.get("sppci_cores", "")).isdigit():
        facts["gpu_cores"] = int(gpu["sppci_cores"])
    if family := gpu.get("spdisplays_mtlgpufamilysupport"):
        facts["metal"] = re.sub("^spdisplays_(mtlgpufamily)?", "", str(family))
    return facts


def chip_of(brand: str) -> str | None:
    """The chip that targets are made for: ``m1-pro`` for "Apple M1 Pro"; None for what is no Apple silicon.

    One that is not in `CHIPS` is the nearest older of its kind there, as it runs what that one runs.
    """
    found = re.match(r"Apple M([1-9]\d*)(?: (Pro|Max|Ultra))?\b", brand)
    if not found:
        return None
    generation = min(int(found[1]), max(chip.generation for chip in CHIPS))
    kinds, kind = {chip.kind: chip.name for chip in CHIPS if chip.generation == generation}, (found[2] or "").lower()
    return kinds.get(kind, list(kinds.values())[-1])


def is_known(brand: str) -> bool:
    """Is the chip itself in `CHIPS`, and not only an older one of its kind?"""
    chip = chip_of(brand)
    return chip is not None and brand.lower().replace(" ", "-") == f"apple-{chip}"


def cpu_key(brand: str) -> str | None:
    """The device key of a chip's CPU: ``m1-pro-cpu`` for "Apple M1 Pro"; None for what is no Apple silicon."""
    chip = chip_of(brand)
    return chip and f"{chip}-cpu"


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_SEC)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
