"""Who takes part in a comparison: each is loaded here or in a process of its own, and its outputs are looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tuner.bench.contestant import Contestant
from tuner.bench.entrant import Entrant
from tuner.bench.outputs import checked, named_outputs
from tuner.bench.spec import Spec, Variant
from tuner.bench.task import Task
from tuner.errors import StageFailed

Call = Callable[..., Any]
_OF_OTHERS = ("onnx-file", "graphdef")  # they need not give all outputs, nor call them as we do
_ALWAYS_APART = ("onnx-file", "keras", "graphdef")


@dataclass
class Field:
    """The contestants by name, how far each one's outputs are from the reference, and why others are ``absent``.

    ``start`` starts one in a process of its own, with its files in ``scratch``.
    """

    spec: Spec
    start: Callable[[Variant, Spec, Task, Path], Contestant]
    scratch: Path
    entrants: dict[str, Call | Entrant] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def admit(self, here: Callable[[Variant], Call], task: Task, reference: Mapping[str, np.ndarray]) -> None:
        """Let all of the spec take part. ``here`` gives a call in this process, which takes other arrays, too.

        Raises what a contestant that is not optional fails with: it can't be loaded, or is out of tolerance.
        """
        for entry in self.spec.variants:
            try:
                one = self._entrant(entry, here, task)
                found = self._outputs(one, task, list(reference))
                right = reference
                if entry.kind in _OF_OTHERS:
                    found = as_meant(found, reference)
                    right = {name: value for name, value in reference.items() if name in found} or reference
                error = checked(entry.name, found, right, entry.precision).max_abs_error
            except StageFailed as failure:
                self.lose(entry.name, failure)
            else:
                self.entrants[entry.name], self.errors[entry.name] = one, error

    def lose(self, name: str, failure: StageFailed) -> None:
        """One does not take part (any more). Raises the failure of one that is not optional."""
        entry = next(entry for entry in self.spec.variants if entry.name == name)
        if not entry.optional:
            raise failure
        self.absent[name] = f"{failure.message} {failure.hint}".strip()

    def computes_in(self, entry: Variant) -> str:
        """What the products of one that takes part are computed in: as its runtime says, else as it was entered."""
        return getattr(self.entrants[entry.name], "precision", "") or entry.precision

    def _entrant(self, entry: Variant, here: Callable[[Variant], Call], task: Task) -> Call | Entrant:
        is_apart = (self.spec.apart or entry.kind in _ALWAYS_APART) and entry.kind not in task.only_here
        return self.start(entry, self.spec, task, self.scratch) if is_apart else here(entry)

    def _outputs(self, one: Call | Entrant, task: Task, names: list[str]) -> Mapping[str, np.ndarray]:
        if isinstance(one, Contestant):
            (found,) = one.computed([task.batches[task.looked_at]], self.scratch)
            return task.trimmed(found)
        assert not isinstance(one, Entrant)
        return task.trimmed(named_outputs(task.computed_here(one), names))


def as_meant(found: Mapping[str, np.ndarray], right: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Outputs by our names: those that are called so, else each that has the shape of one of ours."""
    if not set(found).isdisjoint(right):
        return found
    shapes = {value.shape: name for name, value in right.items()}
    return {shapes[value.shape]: value for value in found.values() if value.shape in shapes}
