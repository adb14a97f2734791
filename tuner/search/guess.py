"""What a kernel without a record of its own is: the first thing that a search of it would try, as a record keeps it.

Most of what a search finds is known before it begins. The order of a product's tiles is by a model of the core, that of
written kernels and row-wise ones by what was best so far; what a relative's records say comes before either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tuner.kernels import ready_made, rowwise, simdgroup, written
from tuner.kernels.context import NO_SCHEDULE, Replay
from tuner.kernels.limits import fits
from tuner.kernels.space import space_for
from tuner.search.tiled import TiledSearch
from tuner.search.transfer import Relative

MODEL, RELATIVE, GPU_MODEL = "model of the core", "records of other shapes", "model of the GPU"
_TRIES = 8  # tiles that may not suit what follows the product


@dataclass(frozen=True)
class Guess:
    """A schedule, a choice or a ready-made schedule's name, as records keep it; ``by`` says what it was found by."""

    trace: str
    by: str


def guess(mod: Any, target: Any, relatives: Sequence[Relative] = ()) -> Guess | None:
    """The best guess for a module's function ``main``; None where there is none, and the plain schedule does.

    ``relatives`` are other products with the tiles that were best for them on the same target.
    """
    with suppress(*NO_SCHEDULE):
        if target.kind.name == "llvm":
            return _guess(mod, target, relatives)
        return _by_matrices(mod, target)
    return None


def _guess(mod: Any, target: Any, relatives: Sequence[Relative]) -> Guess | None:
    if (writer := written.writer_for(mod, target)) is not None:
        return Guess(written.to_json(writer.choices[0]), MODEL) if writer.choices else None
    replay = Replay(mod, target, space_for(target))
    tiled = TiledSearch(mod, target)
    by = RELATIVE if tiled.follow(relatives) else MODEL
    for schedule in _schedules(tiled) if tiled.is_product else rowwise.schedules(mod, target):
        if replay.post_process(schedule) is not None:
            return Guess(replay.trace_json(replay.candidate(schedule)), by)
    return None


def _by_matrices(mod: Any, target: Any) -> Guess | None:
    """A product's quickest tile of simdgroup matrices; other GPUs than Apple's have none."""
    for tile in simdgroup.promising(mod, target):
        schedule = ready_made.schedule(tile.name, mod, target)
        if schedule is not None and fits(schedule.mod["main"], target):
            return Guess(tile.name, GPU_MODEL)
    return None


def _schedules(tiled: TiledSearch) -> Iterator[Any]:
    """Of a product, by its first tiles."""
    for tile in tiled.next(_TRIES):
        if (schedule := tiled.schedule(tile)) is not None:
            yield schedule
