"""How many threads a scheduled kernel starts in a threadgroup, and the refusal of those beyond the target's limit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import tvm
from tvm import tirx
from tvm.s_tir import Schedule

from tuner.errors import LimitExceeded


def threads_of(func: Any) -> int:
    """The most threads that a kernel of ``func`` has in one threadgroup; 1 when no loop is bound to threads."""
    schedule = Schedule(tvm.IRModule({"main": func}))
    leaves = _leaves(schedule, schedule.get_sblock("root"))
    return max((_threads_around(schedule, block) for block in leaves), default=1)


def fits(func: Any, target: Any) -> bool:
    """Is the kernel within the threads that ``target`` allows in a threadgroup?"""
    return threads_of(func) <= int(target.attrs["max_threads_per_block"])


def refuse_beyond_limits(mod: Any, target: Any) -> None:
    """Raise LimitExceeded naming the kernels of a scheduled module that ``target`` could not start."""
    beyond = [
        f"{var.name_hint} ({threads_of(func)})"
        for var, func in mod.functions.items()
        if isinstance(func, tirx.PrimFunc) and not fits(func, target)
    ]
    if beyond:
        raise LimitExceeded(
            f"{', '.join(sorted(beyond))}: more threads in a threadgroup than the "
            f"{int(target.attrs['max_threads_per_block'])} of the target.",
            "Use records that were made for this target, or a target with a higher max_threads_per_block.",
        )


def _leaves(schedule: Any, block: Any) -> Iterator[Any]:
    inner = schedule.get_child_blocks(block)
    if not inner:
        yield block
    for one in inner:
        yield from _leaves(schedule, one)


def _threads_around(schedule: Any, block: Any) -> int:
    """Product over the axes of threads that the loops around a block are bound to; an axis counts once."""
    extents = {}
    for loop in map(schedule.get, schedule.get_loops(block)):
        if loop.thread_binding is not None and str(loop.thread_binding.thread_tag).startswith("threadIdx"):
            extents[str(loop.thread_binding.thread_tag)] = int(loop.extent)
    return math.prod(extents.values())
