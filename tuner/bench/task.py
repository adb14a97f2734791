"""What all contestants of a comparison compute, wherever they run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tuner.bench.entrant import InParts

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Task:
    """``batches`` of arrays by name, also in a ``file``, and the names of inputs and outputs in the model's order.

    Outputs are compared on the batch ``looked_at``; with ``lengths``, those of its texts, without their padding, and
    batches may then have any shape. Kinds ``only_here`` have no process of their own.
    """

    file: Path
    batches: Sequence[Arrays]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    looked_at: int = 0
    lengths: Sequence[int] | None = None
    only_here: Collection[str] = ()

    def __post_init__(self) -> None:
        """Writes the file."""
        save(self.file, self.batches)

    def computed_here(self, call: Callable[[], Any]) -> Any:
        """What a call in this process makes of the batch that is looked at."""
        return call.parts[self.looked_at]() if isinstance(call, InParts) else call()

    def trimmed(self, found: Arrays) -> Arrays:
        """Outputs without what is padding."""
        if self.lengths is None:
            return found
        return {
            name: np.concatenate([row[:length] for row, length in zip(value, self.lengths, strict=True)])
            if name == "last_hidden_state" and value.ndim == 3
            else value
            for name, value in found.items()
        }


def save(file: Path, batches: Sequence[Arrays]) -> None:
    """Write batches as ``tuner.bench.turns.batches_in`` reads them."""
    named = {f"{number}/{name}": value for number, batch in enumerate(batches) for name, value in batch.items()}
    np.savez(file, **named)  # type: ignore[arg-type]
