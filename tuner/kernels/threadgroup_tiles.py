"""Which tilings the threadgroups of an Apple GPU can hold. No TVM.

Registers are bounded by an estimate: Metal refuses to launch a kernel whose threads want more of them than there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

_MAX_VTHREADS = 8

# 128 registers a thread at most, and 384 threads at once where each uses them all (Rosenzweig 2021, "Dissecting the
# Apple M1 GPU", part III): 49152 in a core. What addresses and operands take beside accumulators is our estimate.
_MAX_REGISTERS, _CORE_REGISTERS = 128, 384 * 128
_OTHER_REGISTERS = 32

# Places in MetaSchedule's "SSSRRSRS": threadgroups, virtual threads, threads, then two levels inside a thread.
_TILE_LEVELS = 5


@dataclass(frozen=True)
class ThreadgroupLimits:
    """What a threadgroup may be: threads in it, and threads that run in lockstep."""

    threads: int
    simd_width: int


def tile_fits(spatial_tiles: Sequence[Sequence[int]], limits: ThreadgroupLimits) -> bool:
    """Can a GPU hold this tiling? One five-level tile for each spatial axis, outermost first.

    Accumulators of all virtual threads live in the registers of the one thread that stands for them.
    """
    vthreads = math.prod(tile[1] for tile in spatial_tiles)
    threads = math.prod(tile[2] for tile in spatial_tiles)
    registers = math.prod(tile[1] * tile[3] * tile[4] for tile in spatial_tiles) + _OTHER_REGISTERS
    return (
        vthreads <= _MAX_VTHREADS
        and threads <= limits.threads
        and registers <= _MAX_REGISTERS
        and _simd_threads(threads, limits) * registers <= _CORE_REGISTERS
    )


def _simd_threads(threads: int, limits: ThreadgroupLimits) -> int:
    """Threads rounded up to whole simdgroups: idle lanes hold registers too."""
    return -(-threads // limits.simd_width) * limits.simd_width


def sampled_tiles(decisions: Iterable[tuple[str, Any]]) -> list[list[int]]:
    """The spatial tiles among a trace's decisions, given as (kind of instruction, decision)."""
    tiles = [[int(factor) for factor in decision] for kind, decision in decisions if kind == "SamplePerfectTile"]
    return [tile for tile in tiles if len(tile) == _TILE_LEVELS]
