"""What a kernel without a record of its own is: the first thing that a search of it would try, as a record keeps it.

Most of what a search finds is known before it begins. The order of a product's tiles is by a model of the core, that of
row-wise kernels by what was best so far. A kernel that is written out by choices is what was best for others like it on
this machine, where there are some. A product is not: replayed on the logs of three machines, tiles that were best for
other shapes there took 17 % longer than the best in the geometric mean, where those that came first by a model of
the core took 3 %; for tiles of other machines there are too few records to tell.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tuner.kernels import copies, ready_made, rowwise, simdgroup, written
from tuner.kernels.context import NO_SCHEDULE, Replay
from tuner.kernels.limits import fits
from tuner.kernels.space import space_for
from tuner.search.tiled import TiledSearch

MODEL, RELATIVE, GPU_MODEL = "model of the core", "records of kernels like it", "model of the GPU"
_TRIES = 8  # tiles that may not suit what follows the product


@dataclass(frozen=True)
class Guess:
    """A schedule, a choice or a ready-made schedule's name, as records keep it; ``by`` says what it was found by."""

    trace: str
    by: str

    @property
    def name(self) -> str:
        """``guess-`` and what tells it from others."""
        return f"guess-{hashlib.sha256(self.trace.encode()).hexdigest()[:16]}"


def guess(mod: Any, target: Any, relatives: Iterable[str] = ()) -> Guess | None:
    """The best guess for a module's function ``main``; None where there is none, and the plain schedule does.

    ``relatives`` are traces of the best records of kernels like it on the same target.
    """
    with suppress(*NO_SCHEDULE):
        if (writer := written.writer_for(mod, target)) is not None:
            return _choice(writer.choices, relatives, MODEL if target.kind.name == "llvm" else GPU_MODEL)
        return _guess(mod, target) if target.kind.name == "llvm" else _by_matrices(mod, target)
    return None


def _guess(mod: Any, target: Any) -> Guess | None:
    by_library = written.beside(mod, target)
    if by_library is not None and by_library.is_promising:
        return Guess(written.to_json(by_library.choices[0]), MODEL)
    replay = Replay(mod, target, space_for(target))
    for schedule in _schedules(mod, target):
        if replay.post_process(schedule) is not None:
            return Guess(replay.trace_json(replay.candidate(schedule)), MODEL)
    return None


def _choice(choices: Sequence[Any], relatives: Iterable[str], by: str) -> Guess | None:
    """The first choice of a relative that there is here too, else the most promising one."""
    for trace in relatives:
        if written.is_choice(trace) and (choice := written.from_json(trace)) in choices:
            return Guess(written.to_json(choice), RELATIVE)
    return Guess(written.to_json(choices[0]), by) if choices else None


def _by_matrices(mod: Any, target: Any) -> Guess | None:
    """A product's quickest tile of simdgroup matrices; other GPUs than Apple's have none."""
    for tile in simdgroup.promising(mod, target):
        schedule = ready_made.schedule(tile.name, mod, target)
        if schedule is not None and fits(schedule.mod["main"], target):
            return Guess(tile.name, GPU_MODEL)
    return None


def _schedules(mod: Any, target: Any) -> Iterator[Any]:
    """A product's by its first tiles, those of a row-wise kernel, or of a transposition."""
    tiled = TiledSearch(mod, target)
    if not tiled.is_product:
        yield from rowwise.schedules(mod, target) or copies.schedules(mod, target)
        return
    for tile in tiled.next(_TRIES):
        if (schedule := tiled.schedule(tile)) is not None:
            yield schedule
