"""What a model in float32 makes of the sample sentences, kept beside its import, for those at a lower precision.

The sentences were written for this product, which they share the licence of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from rpc.drafts import draft
from tuner.errors import PrecisionUnavailable
from tuner.importers.cache import Imported, Shape
from tuner.importers.fidelity import Fidelity, fidelity, gathered
from tuner.importers.snapshot import Fetched

_LEAST = 200  # texts, on which a loss is measured
_BATCH, _MOST_TOKENS = 16, 96  # of a module for texts


def sentences() -> list[str]:
    """One or two hundred everyday ones: questions, reviews, news, instructions."""
    return resources.files("tuner.data").joinpath("sentences.txt").read_text(encoding="utf-8").splitlines()


@dataclass(frozen=True)
class Gate:
    """What a module of a lower precision has to pass: its loss is within the bounds and, where that is given, within
    ``max_drop`` (0..1), on ``texts`` of the user's, filled up with sample sentences to two hundred."""

    max_drop: float | None = None
    texts: tuple[str, ...] = ()

    @property
    def lines(self) -> list[str]:
        """All that is compared."""
        return [*self.texts, *sentences()[: max(0, _LEAST - len(self.texts))]] if self.texts else sentences()

    @property
    def file(self) -> str:
        """Where an import keeps what float32 makes of them."""
        texts = "\0".join(self.texts).encode()
        return f"sentences-{hashlib.sha256(texts).hexdigest()[:16]}.npz" if self.texts else "sentences.npz"


def check_sentences(imported: Imported) -> None:
    """Raise PrecisionUnavailable for a model that takes no sentences: nobody could say what it loses."""
    if not imported.family:
        raise PrecisionUnavailable(
            f"{imported.name} is no encoder that is known, and is computed in float32 only.", "Leave out --precision."
        )


def know_sentences(root: Path, fetched: Fetched, imported: Imported, shape: Shape, gate: Gate) -> None:
    """Compute what PyTorch makes of the sentences, unless that was done: it loads the model for it."""
    path = root / imported.key / gate.file
    if path.is_file():
        return
    from tuner.importers.huggingface import load_torch
    from tuner.importers.reference import in_batches, reference_outputs

    loaded = load_torch(fetched)
    lines = gate.lines
    rows = _BATCH if imported.texts else shape.batch
    tokens = min(imported.texts["longest"], _MOST_TOKENS) if imported.texts else shape.seq_len
    inputs = in_batches(loaded, lines, rows, tokens)
    want = gathered(((reference_outputs(loaded, one), one["attention_mask"]) for one in inputs), len(lines))
    arrays = {f"want.{name}": value for name, value in want.items()}
    arrays |= {f"in.{name}": np.stack([one[name] for one in inputs]) for name in inputs[0]}
    with draft(root) as scratch:
        np.savez(scratch / gate.file, **arrays)  # type: ignore[arg-type]
        (scratch / gate.file).rename(path)


def fidelity_of(root: Path, imported: Imported, gate: Gate, run: Callable[..., Mapping[str, Any]]) -> Fidelity:
    """How near ``run`` is to float32 on the sentences, which are known."""
    with np.load(root / imported.key / gate.file) as arrays:
        inputs = {name.removeprefix("in."): arrays[name] for name in arrays if name.startswith("in.")}
        want = {name.removeprefix("want."): arrays[name] for name in arrays if name.startswith("want.")}
    batches = [{name: value[n] for name, value in inputs.items()} for n in range(len(inputs["attention_mask"]))]
    count = len(next(iter(want.values())))
    return fidelity(gathered(((run(**batch), batch["attention_mask"]) for batch in batches), count), want)
