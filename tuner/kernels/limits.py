"""What a scheduled kernel takes of a threadgroup, threads and memory, and the refusal of what the target has not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import tvm
from tvm import tirx
from tvm.s_tir import Schedule, transform
from tvm.s_tir.analysis import calculate_allocated_bytes

from tuner.errors import LimitExceeded

# As far as a kernel must be lowered for its buffers to have the size that one threadgroup needs.
_LOWERING = (
    transform.LowerCrossThreadReduction(),
    transform.LowerInitBlock(),
    transform.PlanAndUpdateBufferAllocationLocation(),
    transform.ConvertBlocksToOpaque(),
    transform.CompactBufferAllocation(),
    transform.UnifyThreadBinding(),
    transform.LowerMatchBuffer(),
    transform.InjectSoftwarePipeline(),
    transform.LowerOpaqueBlock(),
    tirx.transform.FlattenBuffer(),
)


def threads_of(func: Any) -> int:
    """The most threads that a kernel of ``func`` has in one threadgroup; 1 when no loop is bound to threads."""
    schedule = Schedule(tvm.IRModule({"main": func}))
    leaves = _leaves(schedule, schedule.get_sblock("root"))
    return max((_threads_around(schedule, block) for block in leaves), default=1)


def memory_of(func: Any) -> int:
    """The most bytes of threadgroup memory that a kernel of ``func`` holds at a time."""
    mod = tvm.IRModule({"main": func})
    for lower in _LOWERING:
        mod = lower(mod)
    scopes = calculate_allocated_bytes(mod)["main"]
    return sum(int(size) for scope, size in scopes.items() if str(scope).startswith("shared"))


def excess(func: Any, target: Any) -> str:
    """What the kernel wants of a threadgroup beyond ``target``'s limits, in words; empty when it fits."""
    threads, most_threads = threads_of(func), int(target.attrs["max_threads_per_block"])
    if threads > most_threads:
        return f"{threads} threads in a threadgroup, the target has {most_threads}"
    memory, most_memory = memory_of(func), int(target.attrs["max_shared_memory_per_block"])
    if memory > most_memory:
        return f"{memory} bytes of threadgroup memory, the target has {most_memory}"
    return ""


def fits(func: Any, target: Any) -> bool:
    """Is the kernel within what ``target`` allows a threadgroup?"""
    return not excess(func, target)


def refuse_beyond_limits(mod: Any, target: Any) -> None:
    """Raise LimitExceeded naming the kernels of a scheduled module that ``target`` could not start."""
    found = {
        str(var.name_hint): excess(func, target)
        for var, func in mod.functions.items()
        if isinstance(func, tirx.PrimFunc)
    }
    if any(found.values()):
        raise LimitExceeded(
            "; ".join(f"{name} wants {wish}" for name, wish in sorted(found.items()) if wish) + ".",
            "Use schedules that were made for this target, or a target with higher limits.",
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
