"""Schedules for kernels without a record, per kind of target: rows and vectors on a CPU, TVM's DLight on a GPU."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import tirx

from tuner.kernels import ready_made, written
from tuner.kernels.fallback import is_scheduled, schedule_plainly
from tuner.kernels.limits import refuse_beyond_limits


def schedule_by_default(mod: Any, target: Any) -> Any:
    """Schedule each function of ``mod`` that has no schedule yet, so that the module builds for ``target``.

    Raises LimitExceeded when a schedule that a function has already is too large for a GPU.
    """
    for var, func in mod.functions.items():
        if isinstance(func, tirx.PrimFunc) and (kernel := written.plain(func, target)) is not None:
            mod[var] = kernel
    if target.kind.name == "llvm":
        return schedule_plainly(mod)
    for var, func in mod.functions.items():
        if isinstance(func, tirx.PrimFunc) and not is_scheduled(func):
            mod[var] = _gpu_schedule(func, target)
    refuse_beyond_limits(mod, target)
    return mod


def default_schedule(func: Any, target: Any) -> Any:
    """One function, scheduled."""
    return schedule_by_default(tvm.IRModule({"main": func}), target)["main"]


def _gpu_schedule(func: Any, target: Any) -> Any:
    schedule = ready_made.schedule("dlight", tvm.IRModule({"main": func}), target)
    return func if schedule is None else schedule.mod["main"].with_attr("tirx.is_scheduled", True)
