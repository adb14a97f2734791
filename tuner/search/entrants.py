"""Who takes part in the finals of a workload: the plain schedule, ready-made ones, the best records, or the
first guess where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import tvm
import tvm_ffi

from tuner.db.models import Record
from tuner.kernels import ready_made, written
from tuner.kernels.context import Replay, module_id
from tuner.kernels.defaults import default_schedule
from tuner.kernels.left_out import NO_CHOICE, refusal
from tuner.kernels.space import space_for
from tuner.search.guess import Guess, guess


@dataclass(frozen=True)
class Entrant:
    """A scheduled module and where its schedule comes from."""

    mod: Any
    record: Record | None = None
    ready_made: str = ""
    to_check: Any = None
    guess: Guess | None = None

    @property
    def id(self) -> str:
        """Its name, in logs and among the files of a check."""
        if self.guess is not None:
            return self.guess.name
        return self.record.candidate if self.record is not None else self.ready_made or "default"

    @property
    def kernel(self) -> str:
        """What it computes and how, whatever its name."""
        return module_id(self.mod)

    @property
    def is_trusted(self) -> bool:
        """Need nobody ask what it computes? The plain schedule, or a record that was checked."""
        return self.record.checked if self.record is not None else not self.ready_made and self.guess is None

    @property
    def tir(self) -> str:
        """The module as JSON."""
        return str(tvm.ir.save_json(self.mod))

    @property
    def tir_to_check(self) -> str:
        """The same with the workload's own arguments, where the module takes others."""
        return str(tvm.ir.save_json(self.to_check)) if self.to_check is not None else ""


def entrants_of(
    mod: Any, candidates: Sequence[Record], target: Any, relatives: Sequence[str] = ()
) -> tuple[list[Entrant], list[tuple[Record, str]]]:
    """The default schedule first, then all that differ from it; and the candidates that can't take part. Where there is
    none, a CPU's first guess takes part, which may follow ``relatives``; a GPU's is one of the ready-made schedules."""
    found = [plain(mod, target)]
    for name in _ready_made(mod, target):
        schedule = ready_made.schedule(name, mod, target)
        if schedule is not None and not any(_same(schedule.mod, other.mod) for other in found):
            found.append(Entrant(schedule.mod, ready_made=name))
    replay = Replay(mod, target, space_for(target))
    left_out = []
    for record in candidates:
        if (made := _made(mod, target, replay, record.trace, record.checked)) is not None:
            found.append(replace(made, record=record))
        elif written.is_choice(record.trace):
            left_out.append((record, NO_CHOICE))
        else:
            left_out.append((record, refusal(replay, record.trace, target)))
    one = guess(mod, target, relatives) if not candidates and target.kind.name == "llvm" else None
    if one is not None and (made := _made(mod, target, replay, one.trace)) is not None:
        found.append(replace(made, guess=one))
    return found, left_out


def _ready_made(mod: Any, target: Any) -> tuple[str, ...]:
    """Names of the schedules to try; what is written out has none."""
    found = ready_made.names(target)
    return found if found and written.writer_for(mod, target) is None else ()


def _made(mod: Any, target: Any, replay: Replay, trace: str, is_checked: bool = False) -> Entrant | None:
    """What a trace makes of a workload; None when that is nothing on this target."""
    if written.is_choice(trace):
        made = written.rewritten(trace, mod, target)
        to_check = None if is_checked else written.rewritten(trace, mod, target, to_check=True)
        return Entrant(made, to_check=to_check) if made is not None else None
    schedule = replay.schedule(trace)
    return Entrant(schedule.mod) if schedule is not None else None


def plain(mod: Any, target: Any) -> Entrant:
    """The default schedule of a workload, what it is untuned."""
    return Entrant(tvm.IRModule({"main": default_schedule(mod["main"], target)}))


def _same(one: Any, other: Any) -> bool:
    """Do two modules compute ``main`` in the same way? Attributes say nothing about that."""
    return bool(tvm_ffi.structural_equal(one["main"].body, other["main"].body, map_free_vars=True))
