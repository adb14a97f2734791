"""What a kernel without a record of its own is: the first thing that a search of it would try, as a record keeps it.

Most of what a search finds is known before it begins. The order of a product's tiles is by a model of the core, that of
written kernels and row-wise ones by what was best so far; what a relative's records say comes before either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tuner.kernels import rowwise, written
from tuner.kernels.context import NO_SCHEDULE, Replay
from tuner.kernels.space import space_for
from tuner.search.tiled import TiledSearch
from tuner.search.transfer import Relative

MODEL, RELATIVE = "model of the core", "records of other shapes"
_TRIES = 8  # tiles that may not suit what follows the product


@dataclass(frozen=True)
class Guess:
    """A schedule, or a choice, as a record keeps it, and in words ``by`` what it was found."""

    trace: str
    by: str


def guess(mod: Any, target: Any, relatives: Sequence[Relative] = ()) -> Guess | None:
    """The best guess for a module's function ``main``; None where there is none, and the plain schedule does.

    ``relatives`` are other products with the tiles that were best for them on the same target.
    """
    with suppress(*NO_SCHEDULE):
        return _guess(mod, target, relatives) if target.kind.name == "llvm" else None
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


def _schedules(tiled: TiledSearch) -> Iterator[Any]:
    """Of a product, by its first tiles."""
    for tile in tiled.next(_TRIES):
        if (schedule := tiled.schedule(tile)) is not None:
            yield schedule
