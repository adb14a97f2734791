"""What PyTorch calls in a graph's place: the graph, until its tuned module has shown that it computes the same, and
faster."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Sequence
from typing import Any

import torch

from tuner.artifact.loader import Runner
from tuner.artifact.members import ArtifactError
from tuner.importers.comparison import compare
from tunesmith.captured import Captured
from tunesmith.race import Race
from tunesmith.tensors import array_of, tensors_of

log = logging.getLogger("tunesmith")
_told: set[str] = set()


def tell(why: str) -> None:
    """One warning for each reason why something stays with PyTorch."""
    if why not in _told:
        _told.add(why)
        warnings.warn(f"tunesmith: a part of the model stays with PyTorch: {why}.", stacklevel=2)


class Swapping:
    """A graph, later its tuned module. ``offer`` and ``stay`` come from another thread."""

    def __init__(self, captured: Captured) -> None:
        self.captured = captured
        self._tuned: Runner | None = None
        self._offered: Runner | None = None
        self._race: Race | None = None
        self._why: str | None = None

    @property
    def is_tuned(self) -> bool:
        """Do all calls go to the tuned module."""
        return self._tuned is not None and self._race is None

    def offer(self, runner: Runner) -> None:
        """Take this module from the next calls on, if it computes what the graph does, and faster."""
        self._offered = runner

    def stay(self, why: str) -> None:
        """Stay with the graph; the next call says why."""
        self._tuned, self._offered, self._race, self._why = None, None, None, why

    def __call__(self, *arguments: Any) -> Any:
        if self._race is not None:
            return self._raced(self._race, arguments)
        return self._answer(arguments)

    def _answer(self, arguments: Sequence[Any]) -> Any:
        if self._tuned is None and self._offered is None:
            return self._by_pytorch(arguments)
        if not self.captured.is_as_it_was(arguments):
            self.stay("its weights were changed after it was compiled")
            return self._by_pytorch(arguments)
        if self._tuned is None:
            return self._checked(arguments)
        return self._run(self._tuned, self.captured.of(arguments))

    def _raced(self, race: Race, arguments: Sequence[Any]) -> Any:
        """A call by whoever's turn it is; the last one decides."""
        answer = self._answer if race.is_next_tuned() else self._by_pytorch
        start = time.perf_counter()
        result = answer(arguments)
        race.count(time.perf_counter() - start)
        if self._race is race and (is_won := race.is_won()) is not None:
            if is_won:
                self._race = None
                log.info("the tuned module is swapped in: %s", race)
            else:
                self.stay(f"its tuned module is not faster: {race}")
        return result

    def takes(self, inputs: Sequence[torch.Tensor]) -> bool:
        """Is it tuned, for inputs of these shapes and types."""
        known = self.captured.inputs()
        alike = len(known) == len(inputs) and all(
            one.shape == two.shape and one.dtype == two.dtype for one, two in zip(known, inputs, strict=True)
        )
        return alike and (self._tuned is not None or self._offered is not None)

    def _by_pytorch(self, arguments: Sequence[Any]) -> Any:
        if self._why is not None:
            why, self._why = self._why, None
            tell(why)
        return self.captured.by_pytorch(*arguments)

    def _checked(self, arguments: Sequence[Any]) -> Any:
        """The graph's own answer to this call, beside which the module's decides whether it is taken."""
        runner, self._offered = self._offered, None
        inputs = self.captured.of(arguments)
        before = [value.clone() for value in inputs]
        want = self.captured.by_pytorch(*arguments)
        if runner is None or not self.captured.is_as_it_was(arguments) or not _equal(before, inputs):
            self.stay("it changes tensors in place, its own or those it is given")
            return want
        try:
            got = self._run(runner, before)
        except (ArtifactError, ValueError, TypeError) as error:
            self.stay(f"its tuned module can't be run: {error}".rstrip("."))
            return want
        found = compare(_by_place(got), _by_place(want))
        if found.ok:
            self._tuned, self._race = runner, Race()
        else:
            self.stay(f"its tuned module is off by {found.max_rel_error:.1e}")
        return want

    def _run(self, runner: Runner, inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        names = [spec["name"] for spec in runner.inputs]
        given = {name: array_of(value) for name, value in zip(names, inputs, strict=True)}
        return tuple(tensors_of(runner.run_in_place(**given)).values())


def _equal(some: Sequence[torch.Tensor], others: Sequence[torch.Tensor]) -> bool:
    return all(torch.equal(one, two) for one, two in zip(some, others, strict=True))


def _by_place(outputs: Sequence[torch.Tensor]) -> dict[str, Any]:
    return {str(place): value.numpy() for place, value in enumerate(outputs)}


class AnyShape:
    """A graph for shapes that change: calls of shapes that were tuned go to what was tuned, all others to PyTorch."""

    def __init__(self, captured: Captured, fixed: Sequence[Swapping]) -> None:
        self._captured = captured
        self._fixed = [one for one in fixed if one.captured.is_the_same_for_other_sizes(captured)]

    def __call__(self, *arguments: Any) -> Any:
        inputs = self._captured.of(arguments)
        for one in self._fixed:
            if one.takes(inputs):
                return one(*one.captured.arguments(inputs))
        return self._captured.by_pytorch(*arguments)
