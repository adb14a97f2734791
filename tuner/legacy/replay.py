"""Ansor's transform steps replayed as a schedule of TensorIR.

Ansor counts stages (tensors, placeholders included) and each stage's own loops; TensorIR has blocks, whose loops are
shared with what is computed inside them. So a stage here is a block and the loops that Ansor would count. Two things
are turned round. Ansor attaches a tiled stage to a consumer that was divided the same way: TensorIR keeps the tiled
stage's loops and moves the consumer into them. And a copy into memory that threads share comes last.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from tvm.error import InternalError
from tvm.s_tir import Schedule, ScheduleError

from tuner.kernels.context import Replay, candidate_id
from tuner.legacy import transform
from tuner.legacy.transform import Step, parse_steps

_UNROLL = "auto_unroll_max_step$"


class NotReplayable(Exception):
    """The steps have no equal here; the message says which one and why."""


@dataclass
class _Stage:
    """``block`` is None for a placeholder or what was inlined; ``loops`` as Ansor counts them, None where one has
    become a loop of the stage that this one is computed in; ``postponed``: steps for when it is placed, at the end."""

    name: str
    block: Any = None
    loops: list[Any] = field(default_factory=list)
    tiled: bool = False
    postponed: list[Step] | None = None


def replay(mod: Any, steps: Sequence[Step]) -> Any:
    """The schedule of ``mod``'s function that ``steps`` describe. Raises NotReplayable."""
    return _Replay(mod, steps).run()


def replayed(ours: Replay, steps: str) -> dict[str, str]:
    """The candidate of a workload that a record's steps (JSON) make: its ``name`` and its ``trace``, as record JSON; or
    the ``obstacle`` that they met."""
    try:
        schedule = ours.post_process(replay(ours.workload.mod, parse_steps(json.loads(steps))))
    except (NotReplayable, InternalError, ValueError) as problem:
        return {"obstacle": str(problem).splitlines()[0]}
    if schedule is None:
        return {"obstacle": "it breaks a limit of the target"}
    return {"name": candidate_id(schedule), "trace": ours.trace_json(ours.candidate(schedule))}


class _Replay:
    def __init__(self, mod: Any, steps: Sequence[Step]) -> None:
        self._sch = Schedule(mod)
        self._steps = steps
        bound = (step.what for step in steps if isinstance(step, transform.Annotate))
        self._on_gpu = any(what.startswith(("blockIdx", "threadIdx")) for what in bound)
        self._placed: list[tuple[_Stage, _Stage, Any]] = []  # stage, where, in which loop: for the end
        *inputs, _ = mod["main"].params
        self._stages = [_Stage(str(param.name)) for param in inputs]
        for block in self._sch.get_child_blocks(self._sch.get_sblock("root")):
            name = str(self._sch.get(block).writes[0].source.name)
            self._stages.append(_Stage(name, block, list(self._sch.get_loops(block))))

    def run(self) -> Any:
        for step in self._steps:
            if step.stage >= len(self._stages):
                raise NotReplayable(f"{type(step).__name__} of stage {step.stage}: there are {len(self._stages)}")
            stage = self._stages[step.stage]
            if stage.postponed is not None:
                stage.postponed.append(step)
            else:
                self._try(step, stage)
        # What threads share can be sized only once it is known which loops are threads.
        for stage, host, loop in self._placed:
            self._place(stage, host, loop)
            for step in stage.postponed or ():
                self._try(step, stage)
        return self._sch

    def _try(self, step: Step, stage: _Stage) -> None:
        try:
            if stage.block is None and not isinstance(step, transform.CacheRead):
                raise NotReplayable(f"{stage.name} is not computed by itself")
            self._apply(step, stage)
        except (ScheduleError, NotReplayable, IndexError, ArithmeticError, ValueError, RuntimeError) as error:
            last = (str(error).strip().splitlines() or [""])[-1]
            raise NotReplayable(f"{type(step).__name__} of {stage.name}: {last[:200]}") from None

    def _apply(self, step: Step, stage: _Stage) -> None:
        match step:
            case transform.Split(_, loop, lengths, inner_to_outer):
                self._split(stage, loop, lengths, inner_to_outer)
            case transform.FollowSplit(_, loop, source, parts):
                lengths = self._source(source).lengths
                self._split(stage, loop, (*lengths[: parts - 1], prod(lengths[parts - 1 :])), inner_to_outer=True)
            case transform.FollowFusedSplit(_, loop, sources, level, inner_to_outer):
                factor = prod(self._source(source).lengths[level] for source in sources)
                self._split(stage, loop, (factor,), inner_to_outer)
            case transform.Reorder(_, order):
                stage.loops = [stage.loops[i] for i in order]
                self._sch.reorder(*stage.loops)
            case transform.Fuse(_, fused):
                self._fuse(stage, fused)
            case transform.Annotate(_, loop, what):
                self._annotate(stage, loop, what)
            case transform.Pragma(_, loop, text):
                self._pragma(stage, loop, text)
            case transform.ComputeAt(_, target, loop):
                self._compute_at(stage, self._stages[target], loop)
            case transform.ComputeInline():
                self._sch.compute_inline(stage.block)
                stage.block = None
            case transform.ComputeRoot():
                pass  # where a stage is until it is moved
            case transform.CacheRead(_, scope, readers):
                self._cache_read(stage, scope, [self._stages[reader].block for reader in readers])
            case transform.CacheWrite(_, scope):
                self._cache_write(stage, scope)
            case _:
                raise NotReplayable("there is no equal of this step here")

    def _source(self, index: int) -> transform.Split:
        step = self._steps[index]
        if not isinstance(step, transform.Split):
            raise NotReplayable(f"step {index} is no split")
        return step

    def _split(self, stage: _Stage, index: int, lengths: tuple[int, ...], inner_to_outer: bool) -> None:
        factors = [None, *lengths] if inner_to_outer else [*lengths, None]
        stage.loops[index : index + 1] = self._sch.split(_own_loop(stage, index), factors)
        stage.tiled = True

    def _fuse(self, stage: _Stage, fused: tuple[int, ...]) -> None:
        loops = [_own_loop(stage, index) for index in fused]
        stage.loops[fused[0] : fused[-1] + 1] = [self._sch.fuse(*loops) if len(loops) > 1 else loops[0]]

    def _annotate(self, stage: _Stage, index: int, what: str) -> None:
        loop = _own_loop(stage, index)
        match what:
            case "none":
                pass
            case "parallel":
                self._sch.parallel(loop)
            case "vectorize":
                self._sch.vectorize(loop)
            case "unroll":
                self._sch.unroll(loop)
            case "vthread":
                self._sch.bind(loop, "vthread.x")
            case "tensorize":
                raise NotReplayable("the log does not say by which instruction")
            case axis:
                self._sch.bind(loop, axis)

    def _pragma(self, stage: _Stage, index: int, text: str) -> None:
        if not text.startswith(_UNROLL):
            raise NotReplayable(f"unknown pragma {text!r}")
        loop = _own_loop(stage, index)
        self._sch.annotate(loop, "pragma_auto_unroll_max_step", int(text.removeprefix(_UNROLL)))
        # Source for a GPU is unrolled by its own compiler; unrolled here, TVM 0.27 fails to type its vectors.
        self._sch.annotate(loop, "pragma_unroll_explicit", 0 if self._on_gpu else 1)

    def _cache_write(self, stage: _Stage, scope: str) -> None:
        """The stage goes on as what is gathered; a new one after it writes back."""
        write_back = self._sch.cache_write(stage.block, 0, scope)
        copy = _Stage(stage.name, write_back, list(self._sch.get_loops(write_back)))
        stage.name, stage.loops = f"{stage.name}.{scope}", list(self._sch.get_loops(stage.block))
        self._insert_after(stage, copy)

    def _cache_read(self, stage: _Stage, scope: str, readers: list[Any]) -> None:
        reads = [str(region.source.name) for region in self._sch.get(readers[0]).reads]
        copy = self._sch.cache_read(readers[0], reads.index(stage.name), scope, consumer_blocks=readers)
        self._insert_after(stage, _Stage(f"{stage.name}.{scope}", copy, list(self._sch.get_loops(copy))))

    def _insert_after(self, stage: _Stage, new: _Stage) -> None:
        self._stages.insert(next(i for i, one in enumerate(self._stages) if one is stage) + 1, new)

    def _compute_at(self, stage: _Stage, host: _Stage, index: int) -> None:
        """A stage that is not tiled goes into the loop at the end; a tiled one takes its consumer in now."""
        if not stage.tiled:
            stage.postponed = []
            self._placed.append((stage, host, _own_loop(host, index)))
            return
        shared, own = stage.loops[: index + 1], len(host.loops) - index - 1
        if None in shared:
            raise NotReplayable("its loops are those of another stage already")
        self._sch.reverse_compute_at(host.block, shared[-1], preserve_unit_loops=True)
        inner = list(self._sch.get_loops(host.block))[len(shared) :]
        if len(inner) != own:
            raise NotReplayable(f"{host.name} has {own} loops inside where {len(inner)} are possible")
        host.loops = [*shared, *inner]
        stage.loops = [None] * len(shared) + stage.loops[index + 1 :]

    def _place(self, stage: _Stage, host: _Stage, loop: Any) -> None:
        try:
            self._sch.compute_at(stage.block, loop, preserve_unit_loops=True)
        except ScheduleError as error:
            raise NotReplayable(f"{stage.name} can't be computed in {host.name}: {error}") from None
        wanted = self._sch.get(loop)
        around = list(self._sch.get_loops(stage.block))
        depth = next(n for n, one in enumerate(around, 1) if self._sch.get(one).same_as(wanted))
        stage.loops = around[depth:]


def _own_loop(stage: _Stage, index: int) -> Any:
    """The loop Ansor means; for one that merged into a consumer's, the first that is the stage's own."""
    own = next((loop for loop in stage.loops[index:] if loop is not None), None)
    if own is None:
        raise NotReplayable(f"{stage.name} has no loop {index} of its own")
    return own
