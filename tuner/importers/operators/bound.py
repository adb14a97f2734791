"""Operators that come with a schedule: binding loops to threads is the search's, within the limits of the target."""

from __future__ import annotations

from typing import Any

import tvm
from tvm.s_tir import ScheduleError

from tuner.errors import ModelInvalid
from tuner.importers.operators.importer import load_operator
from tuner.importers.snapshot import Fetched
from tuner.kernels.limits import is_bound, refuse_beyond_limits


def refuse_bound(fetched: Fetched, target: Any) -> None:
    """Refuse an operator whose loops are bound to threads already.

    Raises LimitExceeded when they are more than ``target`` has, else ModelInvalid; that too for one without blocks.
    """
    loaded = load_operator(fetched)
    try:
        if not is_bound(loaded.func):
            return
    except ScheduleError:
        raise ModelInvalid(
            f"The operator {loaded.name} holds no blocks that a schedule could move.",
            "Send what `te.create_prim_func` makes, before it is lowered.",
        ) from None
    if "gpu" in target.keys:
        refuse_beyond_limits(tvm.IRModule({loaded.name: loaded.func}), target)
    raise ModelInvalid(
        f"Loops of the operator {loaded.name} are bound to threads already.",
        "Send it as it is computed, without a schedule: finding one is what tuning does.",
    )
