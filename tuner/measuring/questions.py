"""What build processes are asked about things that others wrote: TVM believes what it reads, and may die of it."""

from __future__ import annotations

import functools
import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Replays:
    """Does a process survive it when this record's trace becomes a schedule, for a candidate and a module?"""

    tir: str
    target: str
    trace: str

    def answer(self) -> bool:
        """Did it become one?"""
        from tuner.kernels.context import built_arguments

        replay = _replay(self.tir, self.target)
        schedule = replay.schedule(self.trace)
        if schedule is None:
            return False
        replay.trace_json(replay.candidate(schedule))
        built_arguments(schedule.mod)
        return True


@dataclass(frozen=True)
class ProductIn:
    """The product that is in a workload's TIR."""

    tir: str

    def answer(self) -> dict[str, Any] | None:
        """Its fields; None when there is none, or no TIR."""
        from tuner.kernels.context import NO_SCHEDULE
        from tuner.kernels.products import find_product
        from tuner.kernels.workload import module_from_json

        try:
            found = find_product(module_from_json(self.tir))
        except NO_SCHEDULE:
            return None
        return asdict(found) if found and min(found.rows, found.columns, found.depth) > 0 else None


@dataclass(frozen=True)
class Steps:
    """The candidate that an Ansor record's transform steps make of a workload."""

    tir: str
    target: str
    steps: str

    def answer(self) -> dict[str, str]:
        """Its ``name`` and record JSON, the ``trace``; or the ``obstacle`` to it."""
        from tuner.legacy.replay import replayed

        return replayed(_replay(self.tir, self.target), self.steps)


@functools.lru_cache(maxsize=4)
def _replay(tir: str, target: str) -> Any:
    from tuner.kernels.context import Replay, make_target
    from tuner.kernels.space import space_for
    from tuner.kernels.workload import module_from_json

    chip = make_target(json.loads(target))
    return Replay(module_from_json(tir), chip, space_for(chip))
