"""A job's kernel as text: its TIR as it is built, the steps of its schedule, and what the compiler makes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tvm
from tvm.s_tir.transform import RemoveWeightLayoutRewriteBlock

from tuner.errors import InvalidInput
from tuner.kernels import ready_made, written
from tuner.kernels.context import Replay, make_target
from tuner.kernels.defaults import default_schedule
from tuner.kernels.left_out import refusal
from tuner.kernels.prefetch import insert_prefetches
from tuner.kernels.space import space_for
from tuner.kernels.workload import module_from_json
from tuner.search.guess import guess


@dataclass(frozen=True)
class _Scheduled:
    """A kernel as it is built, and how it came to be, as Python."""

    mod: Any
    steps: str


def text_of(kernel: Mapping[str, Any], form: str) -> str:
    """A kernel, with the fields of ``tuner.schemas.KernelOut``, as ``tir``, ``schedule``, ``code`` (LLVM's, or that of
    a GPU) or ``asm``. Raises InvalidInput where there is no such text."""
    mod, target = module_from_json(kernel["tir"]), make_target(kernel["target"])
    return text(mod, target, kernel["trace"] or _guessed(kernel, mod, target), form, kernel["name"])


def text(mod: Any, target: Any, trace: str, form: str, name: str = "the kernel") -> str:
    """The kernel ``name``, a module, scheduled by a record's trace, or plainly by none, as ``text_of`` says."""
    made = _scheduled(mod, target, trace, name)
    if form == "schedule":
        return made.steps
    return str(made.mod.script()) if form == "tir" else _compiled(made.mod, target, form)


def _scheduled(mod: Any, target: Any, trace: str, name: str) -> _Scheduled:
    if not trace:
        plain = tvm.IRModule({"main": default_schedule(mod["main"], target)})
        return _Scheduled(plain, "# the plain schedule, which needs no record\n")
    if written.is_choice(trace):
        if (rewritten := written.rewritten(trace, mod, target)) is not None:
            return _Scheduled(insert_prefetches(rewritten), f"# written out whole, by this choice\n{_pretty(trace)}\n")
    elif ready_made.is_name(trace):
        if (schedule := ready_made.schedule(trace, mod, target)) is not None:
            return _Scheduled(insert_prefetches(schedule.mod), f"# the ready-made schedule {trace}\n")
    elif (schedule := Replay(mod, target, space_for(target)).schedule(trace)) is not None:
        packed = RemoveWeightLayoutRewriteBlock(skip_tensor_rewrite=True)(schedule.mod)
        return _Scheduled(insert_prefetches(packed), _steps(mod, target, trace))
    why = refusal(Replay(mod, target, space_for(target)), trace, target)
    raise InvalidInput(f"The schedule of {name} can't be made again: {why}.", "Tune the model again.")


def _guessed(kernel: Mapping[str, Any], mod: Any, target: Any) -> str:
    """A guess made anew; nothing for a kernel whose schedule was none."""
    said = kernel["chosen"] or ""
    if not said.startswith("guessed"):
        return ""
    found = guess(mod, target)
    if found is None or said != f"guessed: {found.by}":
        raise InvalidInput(
            f"The schedule of {kernel['name']} was {said}, which is not kept.",
            "The artifact has its code: tunesmith download JOB --format source",
        )
    return found.trace


def _steps(mod: Any, target: Any, trace: str) -> str:
    """The record's own steps: those that post-processing adds hold index maps, which have no text."""
    schedule = Replay(mod, target, space_for(target)).traced(trace)
    assert schedule is not None  # it was post-processed before
    return "".join(f"{line}\n" for line in schedule.trace.as_python())


def _pretty(choice: str) -> str:
    return json.dumps(json.loads(choice), indent=1)


def _compiled(mod: Any, target: Any, form: str) -> str:
    """What is compiled of the kernel, without the code that looks at its arguments."""
    kind = str(target.kind.name)
    if form == "asm" and kind != "llvm":
        raise InvalidInput(
            f"A kernel for {kind} has no assembly here: the device's driver makes it.", "See its source: --code"
        )
    with tvm.transform.PassContext(config={"tirx.disable_assert": True}):
        library = tvm.tirx.build(mod, target=target)
    if kind != "llvm":
        return str(library.imports[0].inspect_source(kind))
    return str(library.inspect_source("asm" if form == "asm" else "ll"))
