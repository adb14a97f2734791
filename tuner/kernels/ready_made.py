"""Schedules that need no search, by name: on a GPU TVM's DLight, a plain binding of loops to threads, and on Apple's
products by simdgroup matrices.

They compete with what search found, kernel by kernel, on the device. Such a schedule is known by its name alone: its
trace holds index maps, which have no JSON, and making it again takes milliseconds.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from tvm.s_tir.dlight import gpu

from tuner.kernels import simdgroup
from tuner.kernels.context import NO_SCHEDULE
from tuner.kernels.intrinsics import import_on_demand
from tuner.kernels.limits import fits
from tuner.kernels.simdgroup_tiles import TILES, TILES_OF_HALVES

# In TVM's own order; the first rule that takes a kernel schedules it, and the last one takes everything.
# On Metal `Matmul` multiplies float16 by simdgroup matrices.
_DLIGHT = (gpu.Matmul, gpu.GEMV, gpu.Reduction, gpu.GeneralReduction, gpu.Fallback)
_RULES: dict[str, tuple[Any, ...]] = {"dlight": _DLIGHT, "threads": (gpu.Fallback,)}
_TILES = {tile.name: tile for tile in (*TILES, *TILES_OF_HALVES)}


def names(target: Any) -> tuple[str, ...]:
    """Names of the schedules there are for a target; a CPU has none beside the plain one."""
    if "gpu" not in target.keys:
        return ()
    return (*_RULES, *(tile.name for tile in simdgroup.tiles(target)))


def tile_of(name: str) -> Any | None:
    """The tile of simdgroup matrices that a name means; None for others."""
    return _TILES.get(name)


def is_name(trace: str) -> bool:
    """Is this one of ours, rather than a record's JSON?"""
    return trace in _RULES or trace in _TILES


def schedule(name: str, mod: Any, target: Any) -> Any | None:
    """The schedule of ``mod``'s only function ``main``, within a threadgroup; None when there is none."""
    if name in _TILES:
        return simdgroup.schedule(_TILES[name], mod, target)
    import_on_demand()
    for rule in _RULES[name]:
        if (made := _by_rule(rule, mod["main"], target)) is not None:
            return made
    return None


def _by_rule(rule: Any, func: Any, target: Any) -> Any | None:
    """What one of DLight's rules makes of a kernel; None too when it fails at what surrounds a product, makes what
    can't be lowered, or doesn't look at the target's limits."""
    with suppress(AssertionError, *NO_SCHEDULE):
        found = rule().apply(func, target, False)
        made = found[0] if isinstance(found, list) else found
        return made if made is not None and fits(made.mod["main"], target) else None
    return None
