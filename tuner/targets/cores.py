"""Cores of CPUs by LLVM's names, as far as schedules ask: caches, and what a core begins in a cycle. Pure data.

Sources: A. Fog, "The microarchitecture of Intel, AMD and VIA CPUs" and "Instruction tables" (2024); AMD, "Software
Optimization Guide" of families 17h, 19h and 1Ah; B. Cohen, M. Subramony, "Next Generation Zen 5 Core" (Hot Chips 2024);
Intel, "Optimization Reference Manual"; Arm, "Software Optimization Guide" of Neoverse N1, V1, N2 and V2; D. Johnson,
"Apple M1 microarchitecture research"; A. Frumusanu, "Apple Announces The Apple Silicon M1" (AnandTech 2020); Chips and
Cheese, "AMD's Zen 4, Part 2: Memory Subsystem" (2022) and "A Peek at Sapphire Rapids" (2023); for caches the makers'
pages. Each is at its best: what a core sustains of it is for who reckons with it to say.
"""

from __future__ import annotations

from dataclasses import dataclass

_KIB = 1024


@dataclass(frozen=True)
class Core:
    """``fma_lanes``: float32 lanes of the multiply-adds begun in a cycle, of which each takes ``fma_latency`` cycles;
    ``loads`` and ``decoded`` instructions of a cycle, and bytes that it brings from the second-level cache. Of one that
    cores share, a core has its part.
    """

    name: str
    l1_bytes: int
    l2_bytes: int
    fma_lanes: int
    fma_latency: int
    loads: int
    decoded: int
    l2_bytes_per_cycle: int


def _core(
    name: str, l1_kib: int, l2_kib: int, fma_lanes: int, fma_latency: int, loads: int, decoded: int, l2_bytes: int
) -> Core:
    return Core(name, l1_kib * _KIB, l2_kib * _KIB, fma_lanes, fma_latency, loads, decoded, l2_bytes)


_ZEN5 = _core("Zen 5", 48, 1024, 32, 4, 2, 8, 64)
_ICE_LAKE = _core("Ice Lake", 48, 512, 16, 4, 2, 5, 64)
_ICE_LAKE_SERVER = _core("Ice Lake (server)", 48, 1280, 32, 4, 2, 5, 64)
_SKYLAKE_SERVER = _core("Skylake (server)", 32, 1024, 32, 4, 2, 4, 64)
_GOLDEN_COVE = _core("Golden Cove", 48, 1280, 16, 4, 3, 6, 64)
_SAPPHIRE_RAPIDS = _core("Sapphire Rapids", 48, 2048, 32, 4, 2, 6, 64)
_HASWELL = _core("Haswell", 32, 256, 16, 5, 2, 4, 64)
_SKYLAKE = _core("Skylake", 32, 256, 16, 4, 2, 4, 64)
_FIRESTORM = _core("Firestorm", 128, 3072, 16, 4, 3, 8, 32)
_AVALANCHE = _core("Avalanche", 128, 4096, 16, 4, 3, 8, 32)

GENERIC = _core("an ordinary core", 32, 1024, 16, 4, 2, 4, 32)

_BY_CPU = {
    "znver1": _core("Zen 1", 32, 512, 8, 5, 2, 4, 32),
    "znver2": _core("Zen 2", 32, 512, 16, 5, 2, 4, 32),
    "znver3": _core("Zen 3", 32, 512, 16, 4, 3, 4, 32),
    "znver4": _core("Zen 4", 32, 1024, 16, 4, 2, 4, 32),
    "znver5": _ZEN5,
    "haswell": _HASWELL,
    "broadwell": _HASWELL,
    "skylake": _SKYLAKE,
    "cometlake": _SKYLAKE,
    **dict.fromkeys(("skylake-avx512", "cascadelake", "cooperlake"), _SKYLAKE_SERVER),
    **dict.fromkeys(("icelake-client", "tigerlake"), _ICE_LAKE),
    # Servers whose guests see no AMX are a "rocketlake" to LLVM; what suits their two units suits that one's too.
    **dict.fromkeys(("icelake-server", "rocketlake"), _ICE_LAKE_SERVER),
    **dict.fromkeys(("alderlake", "raptorlake", "meteorlake"), _GOLDEN_COVE),
    **dict.fromkeys(("sapphirerapids", "emeraldrapids", "graniterapids"), _SAPPHIRE_RAPIDS),
    "neoverse-n1": _core("Neoverse N1", 64, 1024, 8, 4, 2, 4, 32),
    "neoverse-n2": _core("Neoverse N2", 64, 1024, 8, 4, 3, 5, 64),
    "neoverse-v1": _core("Neoverse V1", 64, 1024, 16, 4, 3, 8, 64),
    "neoverse-v2": _core("Neoverse V2", 64, 2048, 16, 4, 3, 8, 64),
    **dict.fromkeys(("apple-m1", "apple-a14"), _FIRESTORM),
    **dict.fromkeys(("apple-m2", "apple-a15", "apple-m3", "apple-a16", "apple-a17", "apple-m4"), _AVALANCHE),
}


def core_of(mcpu: str) -> Core:
    """The core of LLVM's name for a CPU, an ordinary one where it is none of these."""
    return _BY_CPU.get(mcpu, GENERIC)
