"""Where the kernels of a built module run, and what is copied between host and device in a call: as the module says."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CPU = "cpu"
_CALLS = re.compile(r"^ +call +(\S+) +in:", re.MULTILINE)
_COPY = "vm.builtin.to_device"
_DEVICE_KERNELS = re.compile(r"\bvoid\b[^;{}]*?\b(\w+?)_kernel(?:_\d+)?\s*\(")


@dataclass(frozen=True)
class Places:
    """``kernels``: where each runs, by its name, ``cpu`` or a kind of GPU; ``launches`` of one call at each place;
    ``host_copies``: tensors that one call moves between host and device on its way from its inputs to its outputs."""

    kernels: dict[str, str]
    launches: dict[str, int]
    host_copies: int

    def by_workload(self, ids: Mapping[str, str]) -> dict[str, Any]:
        """As a manifest keeps it, kernels by the ``ids`` of their workloads."""
        kernels = {ids[name]: place for name, place in self.kernels.items() if name in ids}
        return {"kernels": kernels, "launches": self.launches, "host_copies": self.host_copies}


def places(instructions: str, device_code: str, kind: str) -> Places:
    """Pure: from the listing of TVM's virtual machine, and the code (empty: there is none) for a GPU of this ``kind``.

    TVM splits a kernel of a GPU into what launches it on the host, which is called by its name, and one or more
    functions of the device, which are called so with ``_kernel`` behind.
    """
    on_device = {found.group(1) for found in _DEVICE_KERNELS.finditer(device_code)}
    called = Counter(_CALLS.findall(instructions.partition("packed_func;")[0]))
    kernels = {name: kind if name in on_device else CPU for name in called if not name.startswith("vm.builtin.")}
    launches: Counter[str] = Counter()
    for name, place in kernels.items():
        launches[place] += called[name]
    return Places(kernels, dict(launches), called[_COPY])


def in_words(found: Mapping[str, Any]) -> str:
    """What a manifest says of it: ``27 launches on metal, none on the cpu; nothing copied ...``."""
    launches, copies = found["launches"], found["host_copies"]
    away = {place: count for place, count in launches.items() if place != CPU}
    if not away and not copies:
        return f"all {sum(launches.values())} launches on the {CPU}"
    parts = [f"{count} launches on {place}" for place, count in sorted(away.items())]
    parts.append(f"{launches[CPU]} on the {CPU}" if launches.get(CPU) else f"none on the {CPU}")
    moved = f"{copies} tensor{'s' if copies > 1 else ''}" if copies else "nothing"
    return f"{', '.join(parts)}; {moved} copied between host and device in between"
